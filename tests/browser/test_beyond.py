"""What lies beyond the table: pinned words, and the next character."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser


def pin(page: Page, *words: str) -> None:
    page.locator("[data-el=pins-open]").click()
    for word in words:
        page.locator("[data-el=pin-text]").fill(word)
        page.locator("[data-el=pin-add] button").click()
    settled(page, "pins-box")


def settled(page: Page, box: str) -> None:
    expect(page.locator(f"[data-el={box}]:not(.stale)")).to_be_visible()


def pinned(page: Page, word: str) -> Locator:
    return page.locator("[data-el=pins-body] tr").filter(has_text=word)


def characters(page: Page) -> list[str]:
    return page.locator(".lens-character").all_inner_texts()


def left(about: Locator) -> float:
    """What the lens left unfollowed of the raw distribution, in percent."""
    found = re.search(r"元 ([\d.]+) %", about.inner_text())
    assert found is not None, about.inner_text()
    return float(found[1])


def test_a_pinned_word_follows_the_rules_and_the_text(open_page):
    page = open_page()
    pin(page, " Paris", "東京")
    paris = pinned(page, "␣Paris")
    expect(paris.locator("td").first).to_contain_text("77.25 % → 77.25 %")
    expect(paris.locator("td").first).to_contain_text("rank 1")
    tokyo = pinned(page, "東京")
    expect(tokyo).to_contain_text("⟨E6 9D⟩ + ⟨B1⟩")
    expect(tokyo.locator("td").first).to_contain_text("rank 15,810")
    page.get_by_role("radio", name="Llama 3").click()
    expect(paris.locator("td").first).to_contain_text("→ 100.00 %")
    expect(tokyo.locator("td").first).to_contain_text("cut by Top-p")
    page.keyboard.press("g")
    expect(page.locator(".chip").last).to_have_text("␣Paris")
    expect(paris.locator("td").first).not_to_contain_text("77.25 %")


def test_pins_stay_and_go(open_page):
    page = open_page()
    pin(page, " Paris", " Lyon")
    page.reload()
    expect(pinned(page, "␣Lyon").locator("td").first).to_contain_text("rank")
    pinned(page, "␣Lyon").get_by_role("button").click()
    expect(page.locator("[data-el=pins-body] tr")).to_have_count(1)
    page.reload()
    expect(page.locator("[data-el=pins-body] tr")).to_have_count(1)


def test_markup_in_a_pinned_word_is_text(open_page):
    page = open_page()
    pin(page, "<img src=x onerror=alert(1)>")
    expect(page.locator("[data-el=pins-body] img")).to_have_count(0)
    expect(page.locator(".pin-text")).to_have_text("<img␣src=x␣onerror=alert(1)>")


def test_bytes_become_characters_through_the_model(open_page):
    page = open_page()
    page.locator("[data-el=prompt]").fill("日本の首都は")
    page.locator("[data-el=ask]").click()
    expect(page.locator("tr.row").first).to_contain_text("、")
    page.locator("[data-el=lens-open]").click()
    settled(page, "lens-box")
    expect(page.locator(".lens-character").first).to_have_text("、")
    shown = characters(page)
    assert {"ど", "な"} <= set(shown) and not any("⟨" in one for one in shown)
    rows = page.locator("[data-el=lens-body] tr")
    row = rows.filter(has=page.get_by_text("ど", exact=True)).first
    way = row.locator(".lens-ways button").first
    expect(way).to_have_text("⟨E3 81⟩ → ⟨A9⟩")
    length = page.locator("[data-el=length]").inner_text()
    way.click()
    expect(page.locator(".chip").last).to_have_text("ど")
    assert page.locator("[data-el=length]").inner_text() != length


def test_the_lens_follows_unfinished_characters_further(open_page):
    page = open_page(locale="ja-JP")
    page.locator("[data-el=prompt]").fill("日本の首都は")
    page.locator("[data-el=ask]").click()
    expect(page.locator("tr.row").first).to_contain_text("、")
    page.locator("[data-el=lens-open]").click()
    settled(page, "lens-box")
    about = page.locator("[data-el=lens-about]")
    before = left(about)
    page.locator("[data-el=lens-more]").click()
    expect(about).not_to_contain_text(" 4 回", timeout=60_000)
    assert left(about) < before


def test_a_click_does_not_wait_for_the_lens(open_page):
    page = open_page()
    page.locator("[data-el=lens-open]").click()
    for _ in range(3):
        page.keyboard.press("g")
        page.wait_for_timeout(60)
    expect(page.locator(".chip")).to_have_count(8)
    settled(page, "lens-box")


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_nothing_is_wider_than_a_phone(open_page, locale):
    page = open_page(locale=locale, width=360, height=740)
    page.locator("[data-el=lens-open]").click()
    page.locator("[data-el=ahead-open]").click()
    pin(page, " Paris", "吾輩は猫である。名前はまだ無い。")
    settled(page, "lens-box")
    page.locator("[data-el=ahead-depth]").fill("3")
    page.locator("[data-el=ahead-run]").click()
    expect(page.locator("[data-el=ahead-body] tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
