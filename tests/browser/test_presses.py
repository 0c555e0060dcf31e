"""Buttons and keys pressed while an earlier press is on its way: each counts, in order."""

import json

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.browser

CLICK = "async names => names.forEach(name => document.querySelector(`[data-do=${name}]`).click())"
# A key's first event and its repeats, as a keyboard sends them while it is held.
HOLD = """async ([key, times]) => {
  for (let i = 0; i < times; i++)
    document.dispatchEvent(new KeyboardEvent('keydown', { key, repeat: i > 0 }));
}"""
# Once the first one is on its way.
ESCAPE = """async () => {
  await new Promise(done => setTimeout(done));
  document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
}"""


def chips(page: Page) -> int:
    return page.locator(".chip").count()


def is_idle(page: Page) -> None:
    expect(page.locator("[data-el=root]")).to_have_attribute("aria-busy", "false")


def test_three_clicks_are_three_tokens(open_page):
    page = open_page()
    before = chips(page)
    page.evaluate(CLICK, ["step", "step", "step"])
    expect(page.locator(".chip")).to_have_count(before + 3)


def test_presses_are_answered_in_their_order(open_page):
    page = open_page()
    before = chips(page)
    page.evaluate(CLICK, ["step"])
    expect(page.locator(".chip")).to_have_count(before + 1)
    page.evaluate(CLICK, ["step", "undo", "undo"])
    expect(page.locator(".chip")).to_have_count(before)


def test_a_held_key_does_not_pile_up(open_page):
    page = open_page()
    before = chips(page)
    page.evaluate(HOLD, ["g", 20])
    expect(page.locator(".chip")).to_have_count(before + 1)
    is_idle(page)
    assert chips(page) == before + 1


def test_escape_forgets_what_waits(open_page):
    page = open_page()
    before = chips(page)
    page.evaluate(f"async names => {{ await ({CLICK})(names); await ({ESCAPE})(); }}", ["step"] * 5)
    expect(page.locator(".chip")).to_have_count(before + 1)
    is_idle(page)
    assert chips(page) == before + 1


def test_an_error_forgets_what_waits(open_page):
    page = open_page()
    before = chips(page)
    asked = []

    def refuse(route: Route) -> None:
        asked.append(route.request.post_data_json["data"]["action"])
        route.fulfill(
            json=json.dumps({"error": {"code": "too_busy", "waiting": 200, "limit": 200}})
        )

    page.route("**/component_server/", refuse)
    page.evaluate(CLICK, ["step", "step", "step"])
    expect(page.locator("[data-el=note]")).to_be_visible()
    is_idle(page)
    assert asked.count("step") == 1
    page.unroute("**/component_server/")
    page.evaluate(CLICK, ["step"])
    expect(page.locator(".chip")).to_have_count(before + 1)
