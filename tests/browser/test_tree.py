"""The tree of choices on the page."""

import pytest
from playwright.sync_api import Page, expect

from explorer.backends.base import Backend
from tests.browser.large_tree import load, session_file

pytestmark = pytest.mark.browser


def branch(page: Page) -> None:
    """Two tokens, and from the prompt another one."""
    page.keyboard.press("g")
    expect(page.locator(".chip").last).to_have_text("␣Paris")
    page.keyboard.press("g")
    expect(page.locator(".chip")).to_have_count(7)
    page.locator(".chip").nth(5).click()
    expect(page.locator(".chip")).to_have_count(5)
    page.locator("tr.row").nth(2).click()
    expect(page.locator(".chip").last).to_have_text("␣London")


def open_tree(page: Page) -> None:
    page.locator("[data-el=tree-open]").click()
    expect(page.locator(".tree-token").first).to_be_visible()


def tree(page: Page) -> list[str]:
    # Not their inner texts: a line that is scrolled out of sight has none.
    return page.locator("[data-el=tree-box] .tree-token").all_text_contents()


def test_all_branches_are_shown_and_a_click_goes_there(open_page):
    page = open_page()
    open_tree(page)
    branch(page)
    expect(page.locator("[data-el=tree-count]")).to_have_text("Tokens tried: 3")
    shown = tree(page)
    assert shown[:2] == ["prompt", "␣Paris"] and shown[-1] == "␣London"
    expect(page.locator(".tree-token.here")).to_have_text("␣London")
    page.locator(".tree-token").nth(2).click()
    expect(page.locator(".chip")).to_have_count(7)
    assert page.locator(".tree-token.on-path").count() == 2
    expect(page.locator(".tree-token.here")).to_be_focused()
    page.locator(".tree-token").first.click()
    expect(page.locator(".chip")).to_have_count(5)


def test_a_branch_is_named_pinned_deleted_and_undone(open_page):
    page = open_page()
    open_tree(page)
    branch(page)
    line = page.locator(".tree-line").filter(has_text="␣London").last
    line.get_by_role("button", name="Name this branch").click()
    page.get_by_role("textbox", name="Name this branch").fill("<b>wrong</b>")
    page.keyboard.press("Enter")
    expect(page.locator(".tree-name")).to_have_text("<b>wrong</b>")
    line = page.locator(".tree-line").filter(has_text="␣London").last
    line.get_by_role("button", name="Pin this branch").click()
    expect(page.get_by_role("button", name="Unpin this branch")).to_be_visible()
    line = page.locator(".tree-line").filter(has_text="␣London").last
    line.get_by_role("button", name="Delete this branch").click()
    expect(page.locator("[data-el=tree-count]")).to_have_text("Tokens tried: 2")
    expect(page.locator(".chip")).to_have_count(5)
    page.keyboard.press("z")
    expect(page.locator(".tree-name")).to_have_text("<b>wrong</b>")
    expect(page.locator(".chip").last).to_have_text("␣London")


def test_branches_are_compared_as_texts(open_page):
    page = open_page()
    branch(page)
    page.get_by_role("button", name="Compare branches").click()
    rows = page.locator("[data-el=compare-body] tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("Paris")
    expect(rows.nth(1)).to_contain_text("London")
    rows.nth(0).get_by_role("button", name="Go there").click()
    expect(page.locator(".chip")).to_have_count(7)


def test_the_tree_stays_open_in_japanese_and_on_a_phone(open_page):
    page = open_page(locale="ja-JP", width=360, height=740)
    open_tree(page)
    page.locator("tr.row").first.click()
    expect(page.locator("[data-el=tree-count]")).to_have_text("試したトークン 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.reload()
    expect(page.locator(".tree-token").first).to_have_text("プロンプト")


def test_going_somewhere_in_a_large_tree_moves_only_the_marks(open_page, smollm2: Backend):
    page = open_page()
    open_tree(page)
    load(page, session_file(smollm2, 2000))
    tokens, box = page.locator(".tree-token"), page.locator("[data-el=tree-box]")
    expect(tokens).to_have_count(2001, timeout=60_000)  # all of them: nothing is folded away
    page.evaluate(
        """() => {
          window.madeAnew = 0;
          const box = document.querySelector('[data-el=tree-box]');
          new MutationObserver(all => { window.madeAnew += all.length; })
            .observe(box, { subtree: true, childList: true });
        }"""
    )
    box.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    tokens.nth(15).click()
    here = page.locator(".tree-token.here")
    expect(here).to_have_count(1)
    expect(page.locator("[aria-current=true]")).to_have_text(tokens.nth(15).text_content() or "")
    expect(page.locator(".tree-token.on-path")).to_have_count(5)
    # Far away: it comes into view inside the box, and the page stays where it is.
    tokens.last.evaluate("token => token.click()")
    expect(page.locator(".tree-token.on-path")).to_have_count(10)
    expect(here).to_be_in_viewport()
    assert page.evaluate("scrollY") == before
    assert page.locator(".tree-token[tabindex='0']").count() == 1
    assert box.evaluate("box => box.scrollTop") > 1000
    assert page.evaluate("window.madeAnew") == 0
    # A step draws one token more, and no other one anew.
    page.keyboard.press("g")
    expect(tokens).to_have_count(2002)
    assert 0 < page.evaluate("window.madeAnew") < 10
    expect(here).to_have_text(tokens.last.text_content() or "")


def test_a_large_tree_is_read_on_a_phone(open_page, smollm2: Backend):
    page = open_page(width=360, height=740)
    open_tree(page)
    load(page, session_file(smollm2, 600))
    tokens, here = page.locator(".tree-token"), page.locator(".tree-token.here")
    expect(tokens).to_have_count(601, timeout=60_000)
    page.locator("[data-el=tree-box]").scroll_into_view_if_needed()
    for token in (tokens.last, tokens.nth(300)):
        token.evaluate("token => token.click()")
        expect(page.locator(".tree-token.on-path.here")).to_have_text(token.text_content() or "")
        expect(here).to_be_in_viewport(ratio=1)  # lines take several rows here
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_change_elsewhere_and_its_undo_are_drawn(open_page):
    """What the page holds is not what the server sends after an undo: it is sent again."""
    page = open_page()
    open_tree(page)
    branch(page)
    before = tree(page)
    page.keyboard.press("g")
    expect(page.locator(".tree-token")).to_have_count(len(before) + 1)
    page.keyboard.press("z")
    expect(page.locator(".tree-token")).to_have_count(len(before))
    assert tree(page) == before
    page.locator("[data-el=tree-open]").click()
    page.keyboard.press("g")  # while it is closed, no tree comes
    expect(page.locator("[data-el=tree-count]")).to_have_text("Tokens tried: 4")
    page.locator("[data-el=tree-open]").click()
    expect(page.locator(".tree-token")).to_have_count(len(before) + 1)
    page.get_by_role("button", name="日本語").click()
    expect(page.locator(".tree-token").first).to_have_text("プロンプト")


def test_a_branch_in_the_middle_of_a_line_splits_it(open_page):
    page = open_page()
    open_tree(page)
    for count in (6, 7, 8):
        page.keyboard.press("g")
        expect(page.locator(".chip")).to_have_count(count)
    lines = page.locator("[data-el=tree-box] li")
    expect(lines).to_have_count(2)  # the prompt, and three tokens in a line
    page.locator(".tree-token").nth(1).click()
    expect(page.locator(".chip")).to_have_count(6)
    page.locator("tr.row").nth(1).click()
    expect(lines).to_have_count(4)
    shown = tree(page)
    page.keyboard.press("z")
    expect(lines).to_have_count(2)
    assert len(tree(page)) == len(shown) - 1


def test_the_whole_tree_is_one_stop_of_the_tab_key(open_page):
    page = open_page()
    open_tree(page)
    branch(page)
    page.locator(".tree-token.here").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="Delete this branch").last).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Name this branch").fill("kept")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Name this branch").last).to_be_focused()
    assert page.locator(".tree-name").count() == 0
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Name this branch").fill("kept")
    page.keyboard.press("Enter")
    expect(page.locator(".tree-name")).to_have_text("kept")
    expect(page.get_by_role("button", name="Name this branch").last).to_be_focused()
    stops = page.locator("[data-el=tree-box] button:not([tabindex='-1'])")
    expect(stops).to_have_text(["␣London"])
    stops.focus()
    page.keyboard.press("Tab")
    assert not page.evaluate(
        "document.querySelector('[data-el=tree-box]').contains(document.activeElement)"
    )
