"""The tree of choices on the page."""

import pytest
from playwright.sync_api import Page, expect

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
    return page.locator(".tree-token").all_inner_texts()


def test_all_branches_are_shown_and_a_click_goes_there(open_page):
    page = open_page()
    open_tree(page)
    branch(page)
    expect(page.locator("[data-el=tree-count]")).to_have_text("3 tokens tried")
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
    expect(page.locator("[data-el=tree-count]")).to_have_text("2 tokens tried")
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
