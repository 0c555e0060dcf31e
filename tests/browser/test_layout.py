"""Sizes and colour schemes: nothing is cut off, nothing jumps."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [360, 768, 1366])
@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_nothing_is_wider_than_the_page(open_page, width, locale):
    page = open_page(width=width, height=740, locale=locale)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    first = page.locator("tr.row").first.bounding_box()
    assert first and first["x"] >= 0 and first["x"] + first["width"] <= width


def test_the_main_job_on_a_phone(open_page):
    page = open_page(width=360, height=740)
    expect(page.locator("tr.row .pick").first).to_have_text("␣Paris")
    page.locator("tr.row").first.click()
    expect(page.locator(".chip").last).to_have_text("␣Paris")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator("[data-el=length]")).to_contain_text("7 tokens")


def test_dark_and_light_differ_and_can_be_switched(open_page):
    page = open_page(query="/?__theme=dark")
    paper = "getComputedStyle(document.querySelector('.nte')).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Light or dark").click()
    light = page.evaluate(paper)
    assert dark != light and light == "rgb(244, 246, 249)"


def test_rows_stay_in_place_while_a_slider_moves(open_page):
    page = open_page()
    row = page.locator("tr.row").nth(5)
    before = row.bounding_box()
    page.locator("#nte-temperature").press("End")
    expect(page.locator("[data-el=summary]")).to_contain_text("15.")  # near log2 of 49,152
    assert row.bounding_box() == before


def test_a_screen_of_a_laptop_holds_prompt_strip_table_controls_and_chart(open_page):
    page = open_page(width=1440, height=900)
    for part in ("prompt", "strip", "actions", "table", "decoding", "chart"):
        box = page.locator(f".card.{part}").bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= 900
