"""The ledger, the candidate's menu, the dice and Mirostat's cockpit."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def open_ledger(page: Page) -> None:
    page.get_by_role("button", name="Ledger").click()
    expect(page.locator(".ledger tbody tr").first).to_be_visible()


def test_the_ledger_shows_each_stage_and_the_margin_of_a_miss(open_page):
    page = open_page()
    page.get_by_role("radio", name="llama.cpp").click()
    open_ledger(page)
    heads = page.locator(".ledger thead th").all_inner_texts()
    names = [re.sub(r"^[▾▸] ", "", head.split("\n")[0]) for head in heads]
    assert names == ["Token", "Raw", "Top-k", "Top-p", "Min-p", "Temperature"]
    assert page.locator(".ledger tbody tr").count() == 50
    cut = page.locator(".ledger td.cut-here")
    assert cut.count() == 48  # two survive
    first = cut.first.inner_text()
    numbers = re.search(r"needed [≥<≤] ([\d.e-]+), had ([\d.e-]+)", first)
    assert numbers, first
    assert float(numbers[2]) < float(numbers[1])  # min-p: too improbable
    # The raw column is the table's raw column, and the survivors' last one its final column.
    raw = page.locator(".ledger tbody tr").first.locator("td").first.inner_text()
    last = page.locator(".ledger tbody tr").first.locator("td").last.inner_text()
    page.get_by_role("button", name="Table", exact=True).click()
    cells = page.locator(".listing tr.row").first.locator("td").all_inner_texts()
    assert (raw, last) == (cells[3], cells[4])


def test_stages_are_folded_and_a_row_of_the_ledger_is_picked(open_page):
    page = open_page()
    page.get_by_role("radio", name="Llama 3").click()
    open_ledger(page)
    fold = page.get_by_role("button", name=re.compile("Temperature")).and_(page.locator(".fold"))
    wide = page.locator("th.stage").first.bounding_box()
    fold.click()
    expect(page.locator(".fold").first).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".fold").first).to_be_focused()
    narrow = page.locator("th.stage").first.bounding_box()
    assert wide and narrow and narrow["width"] < wide["width"]
    page.locator(".ledger .pick").nth(1).click()
    expect(page.locator(".chip").last).to_have_text("␣the")


def test_the_menu_tells_the_least_change_and_applies_it(open_page):
    page = open_page()
    page.get_by_role("radio", name="llama.cpp").click()
    expect(page.locator("[data-el=summary]")).to_contain_text("2 of 49,152 tokens")
    row = page.locator("tr.row").nth(3)
    token = row.locator(".pick").inner_text()
    row.locator(".pick").focus()
    row.locator(".pick").press("m")
    menu = page.locator("[data-el=menu-dialog]")
    expect(menu).to_contain_text("Min-p: min-p 0.05 →")
    expect(menu).to_contain_text("No single change")
    menu.get_by_role("button", name="Apply").click()
    expect(page.locator("tr.row:not(.gone)").nth(3).locator(".pick")).to_have_text(token)


def test_the_menu_makes_the_best_token_the_only_one(open_page):
    page = open_page()
    page.get_by_role("radio", name="Top-k").click()
    page.locator("tr.row").first.click(button="right")
    menu = page.locator("[data-el=menu-dialog]")
    expect(menu).to_contain_text("It survives already.")
    expect(menu).to_contain_text("Top-k: k 40 → 1")
    menu.get_by_role("button", name="Apply").click()
    expect(page.locator("[data-el=summary]")).to_contain_text("1 of 49,152 tokens")


def test_the_dice_show_the_draw_and_another_u_by_mouse_and_by_keys(open_page):
    page = open_page()
    says = page.locator("[data-el=dice-says]")
    expect(says).to_contain_text("will fall on")
    promised = re.search(r"“(.*)”", says.inner_text())
    page.get_by_role("button", name="Sample", exact=True).click()
    expect(says).to_contain_text("fell on")
    fell = re.search(r"“(.*)”", says.inner_text())
    assert promised and fell and promised[1] == fell[1]
    expect(page.locator(".chip").last).to_have_text(fell[1])

    marker = page.locator("[data-el=marker]")
    marker.scroll_into_view_if_needed()
    box = marker.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.58 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 12, box["y"] + 20, steps=5)
    page.mouse.up()
    expect(says).to_contain_text("Another u, 0.0")
    expect(says).to_contain_text("place 1")
    marker.press("End")
    expect(says).to_contain_text("Another u, 0.9999")
    expect(says).to_contain_text(re.compile(r"place [\d,]{3,}"))  # far down, told by the server
    page.get_by_role("button", name="back to the draw").click()
    expect(says).to_contain_text("fell on")


def test_a_thousand_rolls_follow_the_distribution(open_page):
    page = open_page()
    page.get_by_role("radio", name="Top-k").click()
    page.get_by_role("button", name="Roll 1,000 times").click()
    expect(page.locator("[data-el=rolls-says]")).to_contain_text("χ² =")
    rows = page.locator("[data-el=rolls-body] tr")
    seen = sum(int(row.locator("td").first.inner_text().replace(",", "")) for row in rows.all())
    assert seen == 1000
    first = rows.first.locator("td").all_inner_texts()
    assert abs(int(first[0]) - float(first[1])) < 80  # five standard deviations


def test_undo_and_a_branch_restore_mu_exactly(open_page):
    page = open_page()
    expect(page.locator("[data-el=cockpit]")).to_be_hidden()
    page.get_by_role("radio", name="Mirostat v2").click()
    mu = page.locator(".dial dd").first
    expect(mu).to_have_text("10.00 bits")
    readings = ["10.00 bits"]
    for _ in range(4):
        page.keyboard.press("s")
        expect(mu).not_to_have_text(readings[-1])
        readings.append(mu.inner_text())
    expect(page.locator("[data-el=dial-chart] svg")).to_be_visible()
    page.keyboard.press("z")
    expect(mu).to_have_text(readings[3])
    page.keyboard.press("z")
    expect(mu).to_have_text(readings[2])
    page.locator("tr.row").nth(2).click()  # another branch
    expect(mu).not_to_have_text(readings[2])
    page.keyboard.press("z")
    expect(mu).to_have_text(readings[2])
    page.keyboard.press("s")
    expect(mu).to_have_text(readings[3])  # the same seed at the same place draws the same token


def test_the_cockpit_adds_up(open_page):
    page = open_page()
    page.get_by_role("radio", name="Mirostat v1").click()
    expect(page.locator("[data-el=cockpit]")).to_be_visible()
    page.keyboard.press("s")
    expect(page.locator(".dial dd").nth(3)).to_contain_text(re.compile(r"\d"))
    mu, tau, surprise, error = (
        float(text.split()[0]) for text in page.locator(".dial dd").all_inner_texts()[:4]
    )
    assert tau == 5
    assert error == pytest.approx(surprise - tau, abs=0.011)
    assert mu == pytest.approx(10 - 0.1 * error, abs=0.011)
    expect(page.locator(".dial dt").nth(4)).to_have_text("k")


def test_the_lab_speaks_japanese(open_page):
    page = open_page(locale="ja-JP")
    page.get_by_role("radio", name="llama.cpp").click()
    page.get_by_role("button", name="帳簿").click()
    expect(page.locator(".ledger td.cut-here").first).to_contain_text("必要")
    expect(page.locator("[data-el=dice-says]")).to_contain_text("に当たる")
    page.get_by_role("radio", name="Mirostat v2").click()
    expect(page.locator("[data-el=cockpit]")).to_contain_text("直前の驚き")


@pytest.mark.parametrize("width", [360, 768, 1366])
def test_ledger_dice_and_cockpit_fit_every_width(open_page, width):
    page = open_page(width=width, height=800)
    page.get_by_role("radio", name="Mirostat v1").click()
    expect(page.locator("[data-el=cockpit]")).to_be_visible()
    open_ledger(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
