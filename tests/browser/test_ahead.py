"""Looking ahead on the page: beams, the most probable continuations, three ways side by side."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

ROWS = "[data-el=ahead-body] tr"


def open_ahead(page: Page, kind: str = "Beam search") -> None:
    page.locator("[data-el=ahead-open]").click()
    page.get_by_role("button", name=kind).click()


def look_ahead(page: Page) -> None:
    page.locator("[data-el=ahead-run]").click()
    expect(page.locator("[data-el=ahead-says]")).not_to_have_text("")
    expect(page.locator("[data-el=ahead-stop]")).to_be_hidden(timeout=60_000)


def test_the_best_beam_is_adopted_and_undone(open_page):
    page = open_page()
    open_ahead(page)
    page.locator("[data-el=ahead-depth]").fill("6")
    look_ahead(page)
    expect(page.locator(ROWS)).to_have_count(4)
    expect(page.locator(".ahead .tree-token.on-path")).to_have_count(6)
    best = page.locator(".ahead .tree-token.on-path").all_inner_texts()
    page.locator(ROWS).first.get_by_role("button", name="Continue with this").click()
    expect(page.locator(".chip")).to_have_count(11)
    assert page.locator(".chip.of-text").all_inner_texts() == best
    page.keyboard.press("z")
    expect(page.locator(".chip")).to_have_count(5)
    expect(page.locator(ROWS)).to_have_count(4)  # what was found stays


def test_a_token_of_the_look_ahead_continues_the_text_up_to_it(open_page):
    page = open_page()
    open_ahead(page)
    page.locator("[data-el=ahead-depth]").fill("4")
    look_ahead(page)
    third = page.locator(".ahead .tree-token.on-path").nth(2)
    wanted = [page.locator(".ahead .tree-token.on-path").nth(i).inner_text() for i in range(3)]
    third.click()
    expect(page.locator(".chip")).to_have_count(8)
    assert page.locator(".chip").all_inner_texts()[5:] == wanted


def test_covering_stops_at_the_share_asked_for(open_page):
    page = open_page()
    open_ahead(page, "Most probable")
    page.locator("[data-el=ahead-share]").fill("80")
    page.locator("[data-el=ahead-depth]").fill("1")
    look_ahead(page)
    says = page.locator("[data-el=ahead-says]").inner_text()
    held = re.search(r"^(\d+) continuations hold ([\d.]+) %", says)
    assert held is not None and float(held[2]) >= 80, says
    # Of one token they are the nucleus of top-p.
    page.get_by_role("radio", name="Top-p").click()
    page.locator(".rule", has_text="Top-p").locator("input[type=number]").fill("0.8")
    page.keyboard.press("Tab")
    expect(page.locator("[data-el=summary]")).to_contain_text(f"{held[1]} of 49,152 tokens")


def test_greedy_repeats_itself_side_by_side(open_page):
    page = open_page()
    page.locator("[data-el=prompt]").fill("The cat sat on the mat. The cat")
    page.locator("[data-el=ask]").click()
    expect(page.locator(".chip")).to_have_count(9)
    open_ahead(page, "Side by side")
    look_ahead(page)
    expect(page.locator(ROWS)).to_have_count(3)
    names = page.locator(f"{ROWS} .ahead-name").all_inner_texts()
    assert names == ["Greedy", "Best of 4 beams", "Sample, seed 0"]
    greedy, _, sample = page.locator(f"{ROWS} td:last-child").all_inner_texts()
    assert float(greedy.removesuffix(" %")) > 50 > float(sample.removesuffix(" %"))
    _, beam_sum, sample_sum = page.locator(f"{ROWS} td:nth-child(5)").all_inner_texts()
    assert float(beam_sum) > float(sample_sum), "a beam is more probable than a sample"


def test_stop_leaves_what_was_found(open_page):
    page = open_page()
    open_ahead(page)
    page.locator("[data-el=ahead-depth]").fill("50")
    page.locator("[data-el=ahead-width]").fill("16")
    page.locator("[data-el=ahead-run]").click()
    expect(page.locator(ROWS).first).to_be_visible()
    page.locator("[data-el=ahead-stop]").click()
    expect(page.locator("[data-el=ahead-stop]")).to_be_hidden()
    expect(page.locator("[data-el=ahead-says]")).to_contain_text("tokens ahead…")
    assert page.locator(ROWS).count() > 0
    page.keyboard.press("g")
    expect(page.locator(".chip")).to_have_count(6)


def test_another_prompt_clears_it(open_page):
    page = open_page()
    open_ahead(page)
    page.locator("[data-el=ahead-depth]").fill("2")
    look_ahead(page)
    page.locator("[data-el=prompt]").fill("Once upon a time")
    page.locator("[data-el=ask]").click()
    expect(page.locator(ROWS).first).to_be_hidden()
    expect(page.locator("[data-el=ahead-says]")).to_have_text("")


def test_a_wrong_number_is_named(open_page):
    page = open_page(locale="ja-JP")
    page.locator("[data-el=ahead-open]").click()
    page.locator("[data-el=ahead-width]").fill("17")
    page.locator("[data-el=ahead-run]").click()
    expect(page.locator("[data-el=note-text]")).to_contain_text("ビーム数")
    expect(page.locator("[data-el=note-text]")).to_contain_text("16")
