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
    # Room for at least twelve tokens: the third stands at two and a half twelfths.
    x = box["width"] * (34 + (1000 - 34) * 2.5 / 12) / 1000
    chart.hover(position={"x": x, "y": box["height"] / 2})
    expect(page.locator(".score-point")).to_contain_text("“␣of”")
    chart.click(position={"x": x, "y": box["height"] / 2})
    expect(page.locator(".chip")).to_have_count(2)


def test_four_thousand_tokens_are_shown_on_demand(open_page):
    page = open_page()
    page.locator("[data-el=score-open]").click()
    page.locator("[data-el=prompt]").fill("one two three four " * 1000)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=length]")).to_contain_text("4,00", timeout=120_000)
    page.get_by_role("button", name=re.compile("earlier tokens")).click()
    expect(page.locator(".chip").nth(3999)).to_be_attached(timeout=60_000)
    bars = page.locator(".bars-path").get_attribute("d") or ""
    assert bars.count("M") == page.locator(".chip").count() - 1  # the first is unknown
