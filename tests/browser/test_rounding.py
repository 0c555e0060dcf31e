"""The int8 choice, and what the page shows of its rounding."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_page_shows_what_rounding_changes(open_page):
    page = open_page()
    panel = page.locator("[data-el=rounding]")
    expect(panel).to_be_hidden()
    page.locator("[data-el=model]").select_option("smollm2-135m-instruct-int8")
    expect(page.locator("[data-el=model-facts]")).to_contain_text("int8", timeout=60_000)
    expect(panel).to_be_visible()
    page.locator("[data-el=rounding-open]").click()
    rows = page.locator("[data-el=rounding-body] tr")
    expect(rows).to_have_count(12)
    expect(page.locator("[data-el=rounding-says]")).to_contain_text("of the probability moved")
    first = rows.first.locator("td")
    assert first.nth(0).inner_text() != first.nth(1).inner_text()  # it is another model
    before = page.locator("[data-el=rounding-says]").inner_text()
    page.locator("[data-do=step]").click()
    expect(page.locator("[data-el=rounding-says]")).not_to_have_text(before)
