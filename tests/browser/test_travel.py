"""Links and files reopen the exact state, in another browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def explore(page: Page) -> list[str]:
    page.get_by_role("radio", name="Mirostat v2").click()
    expect(page.locator(".dial dd").first).to_have_text("10.00 bits")
    for count in (6, 7):
        page.keyboard.press("s")
        expect(page.locator(".chip")).to_have_count(count)
    page.locator(".chip").nth(5).click()
    expect(page.locator(".chip")).to_have_count(5)
    page.locator("tr.row").nth(3).click()
    expect(page.locator(".chip")).to_have_count(6)
    return state(page)


def state(page: Page) -> list[str]:
    shown = page.locator(".chip").all_inner_texts() + page.locator(".dial dd").all_inner_texts()
    shown += page.locator("tr.row").nth(1).locator("td").all_inner_texts()
    return [*shown, page.locator("[data-el=tree-count]").inner_text()]


def copied_link(page: Page) -> str:
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
    page.get_by_role("button", name="Link", exact=True).click()
    expect(page.locator("[data-el=note]")).to_contain_text("Copied")
    link = page.evaluate("window.copied")
    assert isinstance(link, str)
    return link


def test_a_link_opens_the_same_state_in_another_browser(open_page):
    one = open_page()
    before = explore(one)
    link = copied_link(one)
    assert "#s=1." in link and len(link) < 8000
    other = open_page(url=link)
    expect(other.locator("[data-el=note]")).to_contain_text("Loaded")
    assert state(other) == before
    assert "#" not in other.url  # a reload goes on from what was done since
    expect(other.get_by_role("radio", name="Mirostat v2")).to_have_attribute("aria-checked", "true")
    other.keyboard.press("s")
    expect(other.locator(".chip")).to_have_count(7)
    other.reload()
    expect(other.locator(".chip")).to_have_count(7)


def test_a_file_is_downloaded_and_loaded_again(open_page, tmp_path: Path):
    one = open_page()
    before = explore(one)
    with one.expect_download() as download:
        one.get_by_role("button", name="JSON", exact=True).click()
    file = tmp_path / "session.json"
    download.value.save_as(file)
    other = open_page()
    other.locator("[data-el=file]").set_input_files(file)
    expect(other.locator(".chip")).to_have_count(6)
    assert state(other) == before


def test_a_damaged_file_is_refused_in_words_and_nothing_is_lost(open_page, tmp_path: Path):
    page = open_page()
    before = explore(page)
    file = tmp_path / "wrong.json"
    file.write_text('{"model": {"name": "smollm2-135m-instruct"}, "format": "other/1"}')
    page.locator("[data-el=file]").set_input_files(file)
    expect(page.locator("[data-el=note]")).to_contain_text("This comes from another version")
    assert state(page) == before


def test_a_damaged_link_says_so_and_the_page_begins_as_usual(open_page, app_url):
    page = open_page(url=app_url + "#s=1.damaged")
    expect(page.locator("tr.row .pick").first).to_have_text("␣Paris")


def test_a_session_too_big_for_a_link_is_offered_as_a_file(open_page):
    page = open_page()
    page.locator("[data-el=prompt]").fill("".join(chr(0x4E00 + i * 7) for i in range(2400)))
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=length]")).not_to_contain_text("5 tokens", timeout=120_000)
    page.get_by_role("button", name="Link", exact=True).click()
    expect(page.locator("[data-el=note]")).to_contain_text("Use the JSON file")
