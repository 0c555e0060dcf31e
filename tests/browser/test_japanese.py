"""The article's worked example, on a page in Japanese."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_interface_follows_the_browser_and_can_be_switched(open_page):
    page = open_page(locale="ja-JP")
    expect(page.locator("h1")).to_have_text("次トークン・エクスプローラー")
    expect(page.get_by_role("button", name="抽選する", exact=True)).to_be_visible()
    expect(page.locator("[data-el=summary]")).to_contain_text("エントロピー")
    page.get_by_role("button", name="EN", exact=True).click()
    expect(page.locator("h1")).to_have_text("Next-Token Explorer")
    expect(page.locator("[data-el=summary]")).to_contain_text("entropy")
    page.reload()
    expect(page.locator("h1")).to_have_text("Next-Token Explorer")


def test_the_articles_prompt_shows_its_words_among_the_first_eight(open_page):
    page = open_page(locale="ja-JP")
    page.get_by_role("button", name="織田信長は美少女").click()
    expect(page.locator("[data-el=length]")).to_contain_text("35 トークン", timeout=120_000)
    rows = page.locator("tr.row:not(.other) .pick").all_inner_texts()
    assert rows.index("だ") == 2 and rows.index("だった") == 3 and rows.index("である") == 6
    expect(page.get_by_role("radio", name="Llama 3")).to_have_attribute("aria-checked", "true")
    assert page.locator(".chip").first.inner_text() == "<bos>"
    expect(page.get_by_role("button", name="チャット", exact=True)).to_be_disabled()


def test_byte_tokens_are_joined_to_characters_and_split_on_demand(open_page):
    page = open_page(locale="ja-JP")
    page.get_by_role("button", name="バイトに割れた文字").click()
    expect(page.locator(".chip.joined").first).to_be_visible()
    assert "".join(page.locator(".chip").all_inner_texts()) == "日本の首都は"
    page.get_by_text("バイトに分ける").click()
    expect(page.locator(".chip").first).to_have_text(re.compile(r"⟨E6 97⟩"))
    assert "�" not in page.locator(".nte").inner_text()


def test_a_candidate_that_completes_a_character_says_so(open_page):
    page = open_page(locale="ja-JP")
    page.get_by_role("button", name="バイトに割れた文字").click()
    expect(page.locator(".chip.joined").first).to_be_visible()
    half = page.locator("tr.row .pick", has_text=re.compile(r"^⟨E[3-9] [0-9A-F]{2}⟩$")).first
    half.click()
    expect(page.locator("tr.row .joins").first).to_have_text(re.compile("^→ .$"))


def test_errors_are_said_in_japanese_and_lose_nothing(open_page):
    page = open_page(locale="ja-JP")
    page.locator("[data-el=prompt]").fill("word " * 9000)
    page.get_by_role("button", name="予測する").click()
    note = page.locator("[data-el=note]")
    expect(note).to_contain_text(
        "トークンありますが、モデルのコンテキストは 8,192 トークンまでです"
    )
    expect(page.locator("[data-el=length]")).to_contain_text("5 トークン")
    page.locator("h1").click()
    page.keyboard.press("g")
    expect(page.locator(".chip").last).to_have_text("␣Paris")
