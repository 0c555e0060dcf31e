"""A text's score: colours, numbers, the chart over position, and standing anywhere in it."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def buckets(page: Page) -> list[str | None]:
    return [chip.get_attribute("data-bucket") for chip in page.locator(".chip").all()]


def test_the_whole_text_is_scored(open_page):
    page = open_page()
    says = page.locator("[data-el=score-says]")
    expect(says).to_contain_text("bits per byte")
    numbers = re.search(r"perplexity ([\d.,]+) · ([\d.]+) bits per token", says.inner_text())
    assert numbers
    perplexity, bits = float(numbers[1].replace(",", "")), float(numbers[2])
    assert perplexity == pytest.approx(2**bits, rel=0.01)


def test_the_strip_is_coloured_by_what_the_reader_chooses(open_page):
    page = open_page()
    by_probability = buckets(page)
    page.get_by_role("combobox", name="Colour by").select_option("rank")
    expect(page.locator("[data-el=legend]")).to_contain_text("1000")
    assert buckets(page) != by_probability
    assert buckets(page)[0] == "unknown"
    page.get_by_role("combobox", name="Colour by").select_option("entropy")
    expect(page.locator("[data-el=legend]")).to_contain_text("≥8")
    page.reload()
    expect(page.get_by_role("combobox", name="Colour by")).to_have_value("entropy")


def test_a_prompt_token_can_be_predicted_in_its_place(open_page):
    page = open_page()
    page.locator(".chip").nth(3).click()
    page.get_by_role("button", name="Predict from here").click()
    expect(page.locator(".chip")).to_have_count(3)
    row = page.locator("tr.row").filter(has_text="␣France").first
    expect(row).to_be_visible()
    page.locator("[data-el=tree-open]").click()
    page.locator(".tree-token").last.click()  # and forward again
    expect(page.locator(".chip")).to_have_count(5)
    page.keyboard.press("z")
    page.keyboard.press("z")
    expect(page.locator(".chip")).to_have_count(5)


def test_the_chart_names_each_token_and_takes_one_there(open_page):
    page = open_page()
    page.locator("[data-el=score-open]").click()
    chart = page.locator("[data-el=score-box] svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    # Room for at least twelve tokens, right of the axis: the third stands at two and a half.
    x = 34 + (box["width"] - 34) * 2.5 / 12
    chart.hover(position={"x": x, "y": box["height"] / 2})
    expect(page.locator(".score-point")).to_contain_text("“␣of”")
    chart.click(position={"x": x, "y": box["height"] / 2})
    expect(page.locator(".chip")).to_have_count(2)


def test_four_thousand_tokens_are_shown_on_demand(open_page):
    page = open_page()
    page.locator("[data-el=prompt]").fill("one two three four " * 1000)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=length]")).to_contain_text("4,00", timeout=120_000)
    page.get_by_role("button", name=re.compile("earlier tokens")).click()
    expect(page.locator(".chip").nth(3999)).to_be_attached(timeout=60_000)
    page.locator(".chip").first.evaluate("chip => { chip.isTheSame = true; }")
    page.get_by_role("combobox", name="Colour by").select_option("rank")
    expect(page.locator(".chip").nth(1)).not_to_have_attribute("data-bucket", "unknown")
    assert page.locator(".chip").first.evaluate("chip => chip.isTheSame")  # only its colour is new


def test_the_score_is_drawn_for_the_whole_of_a_long_text(open_page):
    """The strip shows the last 400 tokens; each column of the chart stands for several."""
    page = open_page()
    words = "one two three four " * 300
    page.locator("[data-el=prompt]").fill(f"{words}Xylophon {words}")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=length]")).to_contain_text("2,4", timeout=120_000)
    expect(page.locator(".earlier")).to_be_visible()
    page.locator("[data-el=score-open]").click()
    chart = page.locator("[data-el=score-box] svg")
    expect(chart).to_have_attribute("aria-label", re.compile("2,4"))
    expect(page.locator(".score-point")).to_contain_text("up to 3 tokens")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box and chart.get_attribute("viewBox") == f"0 0 {round(box['width'])} 130"
    mean, highest = (page.locator(f".bars-path{kind}") for kind in (":not(.highest)", ".highest"))
    assert (highest.get_attribute("d") or "").count("M") == round(box["width"]) - 34
    assert mean.get_attribute("d") != highest.get_attribute("d")
    # At the left end: positions that the strip does not hold, and the surprise in the middle.
    chart.hover(position={"x": 36, "y": 60})
    expect(page.locator(".score-point")).to_contain_text(re.compile("^[3-7]–[4-8]: mean surprisal"))
    middle = 34 + (box["width"] - 34) / 2
    chart.hover(position={"x": middle, "y": 60})
    said = page.locator(".score-point").inner_text()
    numbers = re.search(r"^1,(\d+)–1,(\d+): .*highest ([\d.]+) bits at 1,(\d+)", said)
    assert numbers and int(numbers[1]) <= int(numbers[4]) <= int(numbers[2]), said
    chart.click(position={"x": middle, "y": 60})  # to just before the highest
    expect(page.locator("[data-el=length]")).to_contain_text(f"1,{numbers[4]} tokens")


def test_the_score_follows_each_step_and_the_width_of_the_page(open_page):
    page = open_page(width=700)
    page.locator("[data-el=score-open]").click()
    bars = page.locator(".bars-path")
    expect(bars).to_have_attribute("d", re.compile("^(M[^M]+){4}$"))  # the first is unknown
    page.keyboard.press("g")
    expect(bars).to_have_attribute("d", re.compile("^(M[^M]+){5}$"))
    chart = page.locator("[data-el=score-box] svg")
    wide = chart.get_attribute("viewBox") or ""
    page.set_viewport_size({"width": 360, "height": 740})
    expect(chart).not_to_have_attribute("viewBox", wide)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
