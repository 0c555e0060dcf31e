"""A whole visit without a mouse: everything is reached, seen where it is, and left again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.steady import steady
from tests.ui.serving import served

pytestmark = pytest.mark.browser

MOST_TABS = 150
# Whether the focus is where it is looked for; and the element in the page on which it is not seen.
FOCUS = """selector => {
  const node = document.activeElement, looks = getComputedStyle(node);
  const seen = looks.outlineStyle !== 'none' && parseFloat(looks.outlineWidth) >= 2;
  return [node.matches(selector), seen || !node.closest('.nte') ? '' : node.outerHTML];
}"""
# What Tab should reach: all that can be focused, one for each group that the arrow keys move in.
STOPS = """() => [...document.querySelectorAll('.nte :is(button, input, select, textarea)')]
  .filter(node => node.tabIndex >= 0 && !node.disabled && node.checkVisibility())
  .map((node, i) => { node.nteStop = i; return i; })"""


@pytest.fixture(scope="module")
def visit(browser: Browser) -> Iterator[Page]:
    with served(steady()) as (_, url):
        page = browser.new_page(locale="en-US", viewport={"width": 1440, "height": 900})
        page.goto(url)
        expect(page.locator("tr.row").first).to_be_visible()
        yield page
        page.close()


@pytest.fixture
def page(visit: Page) -> Iterator[Page]:
    yield visit
    assert visit.locator("dialog[open]").count() == 0


def go_to(page: Page, selector: str, key: str = "Tab") -> None:
    """Presses Tab until there, and sees on the way where one is."""
    for _ in range(MOST_TABS):
        page.keyboard.press(key)
        there, unseen = page.evaluate(FOCUS, selector)
        assert not unseen
        if there:
            return
    raise AssertionError(f"{selector} can't be reached")


def chips(page: Page) -> list[str]:
    return page.locator(".chip").all_inner_texts()


def test_tab_reaches_everything_and_leaves_again(page):
    page.locator(".brand").click()
    wanted = set(page.evaluate(STOPS))
    reached = set()
    for _ in range(2 * len(wanted)):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.nteStop ?? -1"))
        if reached >= {*wanted, -1}:
            break
    assert reached >= {*wanted, -1}  # -1: somewhere outside, so it is no trap


def test_type_step_pick_undo_and_branch(page):
    go_to(page, "[data-el=prompt]")
    page.keyboard.press("Control+a")
    page.keyboard.type(" city")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".chip")).to_have_text(["␣city"])
    go_to(page, "[data-do=step]")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text(["␣city", "␣the"])
    go_to(page, ".pick")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text(["␣city", "␣the", "␣of"])
    assert page.evaluate("document.activeElement.matches('.pick')")
    go_to(page, "[data-do=undo]", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text(["␣city", "␣the"])
    go_to(page, ".chip", "Shift+Tab")
    page.keyboard.press("Enter")  # back to before it, from where another branch begins
    expect(page.locator(".chip")).to_have_text(["␣city"])
    assert page.evaluate("document.activeElement.matches('.chip')")
    go_to(page, ".pick")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator(".chip")).to_have_text(["␣city", "␣a"])
    expect(page.locator("[data-el=tree-count]")).to_have_text("Tokens tried: 2")


def test_the_box_of_a_token_is_opened_and_closed(page):
    go_to(page, ".chip", "Shift+Tab")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator(".pop")).to_contain_text("id")
    page.keyboard.press("Escape")
    expect(page.locator(".pop")).to_be_hidden()
    assert page.evaluate("document.activeElement.matches('.chip')")


def test_a_run_hands_its_focus_to_stop_and_has_it_back(page):
    go_to(page, "[data-do=sample-n]")
    page.keyboard.press("Enter")
    expect(page.locator("[data-el=stop]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[data-do=sample-n]")).to_be_focused()
    expect(page.locator("[data-el=stop]")).to_be_hidden()


def test_sliders_rules_and_strategies(page):
    summary = page.locator("[data-el=summary]").inner_text()
    go_to(page, "#nte-top_p")
    page.keyboard.press("Home")
    expect(page.locator("[data-el=summary]")).not_to_have_text(summary)
    go_to(page, "[role=radio]", "Shift+Tab")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("[data-el=summary]")).to_contain_text("1 of")
    go_to(page, ".grip")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-el=rules-said]")).to_contain_text("2")
    assert page.evaluate("document.activeElement.matches('.grip')")


def test_every_panel_is_opened_and_closed(page):
    for panel in ("score", "tree", "ahead", "pins", "lens"):
        go_to(page, f"[data-el={panel}-open]")
        for box in ("visible", "hidden"):
            page.keyboard.press("Enter")
            page.locator(f"[data-el={panel}-box]").wait_for(state=box)
        expect(page.locator(f"[data-el={panel}-open]")).to_be_focused()


@pytest.mark.parametrize(
    ("opener", "key", "dialog"),
    [
        ("[data-el=help]", "Enter", "help-dialog"),
        (".pick", "m", "menu-dialog"),
        ("[data-el=open-chain]", "Enter", "chain-dialog"),
        ("[data-el=compare]", "Enter", "compare-dialog"),
    ],
)
def test_a_dialog_keeps_the_focus_and_gives_it_back(page, opener, key, dialog):
    go_to(page, opener)
    page.keyboard.press(key)
    shown = page.locator(f"[data-el={dialog}]")
    expect(shown).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body"
            " || Boolean(document.activeElement.closest('dialog[open]'))"
        )
    page.keyboard.press("Escape")
    expect(shown).to_be_hidden()
    expect(page.locator(f"{opener}:focus")).to_have_count(1)


def test_a_note_is_closed_and_the_focus_is_where_it_was(page):
    go_to(page, "[data-el=top-n]")
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    expect(page.locator("[data-el=note]")).to_contain_text("from 5 to 500")
    go_to(page, "[data-el=note-close]", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("[data-el=note]")).to_be_hidden()
    expect(page.locator("[data-el=top-n]")).to_be_focused()


def test_the_language_is_switched(page):
    go_to(page, "[data-language=ja]", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.locator("[data-language=ja]")).to_be_focused()
