"""The chain editor: add, remove, switch off, reorder by mouse and by keys, paste."""

import json

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser


def order(page: Page) -> list[str]:
    return [rule.get_attribute("data-rule") or "" for rule in page.locator(".rule").all()]


def rule(page: Page, step: str) -> Locator:
    return page.locator(f".rule[data-rule={step}]")


def chain(page: Page) -> list[dict[str, object]]:
    page.get_by_role("button", name="Chain JSON").click()
    found: list[dict[str, object]] = json.loads(page.locator("[data-el=chain-json]").input_value())
    page.locator("[data-el=chain-close]").click()
    return found


def add(page: Page, step: str) -> Locator:
    page.locator("[data-el=add-rule]").select_option(step)
    expect(rule(page, step)).to_be_visible()
    return rule(page, step)


def test_a_preset_of_another_tool_comes_in_its_order_with_its_source(open_page):
    page = open_page()
    page.get_by_role("radio", name="llama.cpp").click()
    assert order(page) == ["top_k", "top_p", "min_p", "temperature"]
    expect(page.locator("[data-el=strategy-about]")).to_contain_text("temperature 0.8 last")
    assert [item["step"] for item in chain(page)] == ["top_k", "top_p", "min_p", "temperature"]
    page.get_by_role("radio", name="Mirostat v1").click()
    assert order(page)[:2] == ["temperature", "mirostat_v1"]


def test_rules_are_reordered_by_the_mouse_and_the_table_follows(open_page):
    page = open_page()
    page.get_by_role("radio", name="llama.cpp").click()
    expect(page.locator("[data-el=summary]")).to_contain_text("2 of 49,152 tokens")
    before = page.locator("tr.row").first.locator("td").nth(4).inner_text()
    grip = rule(page, "temperature").locator(".grip").bounding_box()
    top = rule(page, "top_k").bounding_box()
    assert grip and top
    page.mouse.move(grip["x"] + 5, grip["y"] + 5)
    page.mouse.down()
    page.mouse.move(grip["x"] + 5, top["y"] + 40, steps=6)
    page.mouse.move(grip["x"] + 5, top["y"] - 5, steps=4)
    page.mouse.up()
    assert order(page) == ["temperature", "top_k", "top_p", "min_p"]
    assert chain(page)[0] == {"step": "temperature", "temperature": 0.8}
    # Sharpened first, less of the tail is left for top-p and min-p to keep.
    expect(page.locator("tr.row").first.locator("td").nth(4)).not_to_have_text(before)


def test_rules_are_reordered_by_keys_and_the_place_is_said(open_page):
    page = open_page()
    page.get_by_role("radio", name="llama.cpp").click()
    grip = rule(page, "temperature").locator(".grip")
    grip.focus()
    grip.press("ArrowUp")
    expect(page.locator("[data-el=rules-said]")).to_have_text("Temperature: place 3 of 4")
    assert order(page) == ["top_k", "top_p", "temperature", "min_p"]
    rule(page, "temperature").locator(".grip").press("Home")
    assert order(page)[0] == "temperature"
    expect(rule(page, "temperature").locator(".grip")).to_be_focused()
    rule(page, "temperature").locator(".grip").press("End")
    assert order(page)[-1] == "temperature"


def test_a_rule_is_added_switched_off_and_removed(open_page):
    page = open_page()
    page.get_by_role("radio", name="Top-k").click()
    added = add(page, "typical")
    expect(added).to_contain_text("Meister et al. 2022")
    assert chain(page) == [{"step": "top_k", "k": 40}, {"step": "typical", "mass": 0.9}]
    expect(added.locator(".rule-kept")).to_contain_text("left")
    added.get_by_role("checkbox").uncheck()
    expect(page.locator("[data-el=summary]")).to_contain_text("40 of 49,152 tokens")
    assert chain(page) == [{"step": "top_k", "k": 40}]
    page.reload()
    expect(page.locator("tr.row").first).to_be_visible()
    expect(rule(page, "typical").get_by_role("checkbox")).not_to_be_checked()
    rule(page, "typical").get_by_role("button", name="Remove Typical").click()
    expect(rule(page, "typical")).to_have_count(0)


def test_every_rule_can_be_added_and_acts_without_an_error(open_page):
    page = open_page()
    steps = page.locator("[data-el=add-rule] option").evaluate_all(
        "options => options.map(option => option.value).filter(Boolean)"
    )
    assert len(steps) == 24  # all steps; greedy is temperature 0
    for step in steps:
        if step in ("temperature", "top_k", "top_p", "min_p"):
            continue  # always there
        add(page, step)
        expect(page.locator("[data-el=root]")).to_have_attribute("aria-busy", "false")
        expect(page.locator("[data-el=note]")).to_be_hidden()
        rule(page, step).get_by_role("button", name="Remove").first.click()


def test_a_chain_is_pasted_and_a_wrong_one_is_refused_in_words(open_page):
    page = open_page()
    page.get_by_role("button", name="Chain JSON").click()
    box, apply = page.locator("[data-el=chain-json]"), page.locator("[data-el=chain-apply]")
    error = page.locator("[data-el=chain-error]")
    box.fill("[{")
    apply.click()
    expect(error).to_contain_text("This is no JSON")
    box.fill('[{"step": "top_k", "k": -3}]')
    apply.click()
    expect(error).to_contain_text("chain[0].k must be a whole number from 0")
    box.fill('[{"step": "top_q"}]')
    apply.click()
    expect(error).to_contain_text("top_k")
    box.fill('[{"step": "min_p", "min_p": 0.5}, {"step": "temperature", "temperature": 2}]')
    apply.click()
    expect(page.locator("[data-el=chain-dialog]")).to_be_hidden()
    expect(page.locator("[data-el=summary]")).to_contain_text("1 of 49,152 tokens")
    assert order(page)[:2] == ["min_p", "temperature"]
    expect(page.get_by_role("radio", name="Custom")).to_have_attribute("aria-checked", "true")


def test_a_banned_word_of_several_tokens_comes_with_a_warning(open_page):
    page = open_page()
    ban = add(page, "banned_sequences")
    ban.get_by_role("textbox").fill(" Paris")
    ban.get_by_role("textbox").press("Enter")
    expect(ban.locator(".word")).to_contain_text("␣Paris")
    expect(ban.locator(".word-warning")).to_be_empty()
    expect(page.locator("tr.row .pick").first).to_have_text("␣the")
    ban.get_by_role("textbox").fill(" the Parisian")
    ban.get_by_role("button", name="Add").click()
    expect(ban.locator(".word-warning")).to_contain_text("the last is banned only after the others")
    expect(page.locator("tr.row .pick").first).to_have_text("␣the")  # a beginning is not banned
    ban.get_by_role("button", name="Remove ␣Paris").first.click()
    expect(page.locator("tr.row .pick").first).to_have_text("␣Paris")


def test_a_bias_moves_one_token(open_page):
    page = open_page()
    bias = add(page, "logit_bias")
    bias.get_by_role("textbox").fill(" London")
    bias.get_by_role("spinbutton").fill("20")
    bias.get_by_role("button", name="Add").click()
    expect(page.locator("tr.row .pick").first).to_have_text("␣London")
    assert chain(page) == [{"step": "logit_bias", "bias": {"4528": 20}}]


def test_a_regular_expression_cuts_what_can_not_fit(open_page):
    page = open_page()
    constraint = add(page, "constraint")
    constraint.get_by_role("textbox").fill(" (London|Berlin)")
    constraint.get_by_role("textbox").blur()
    expect(page.locator("tr.row .pick").first).to_have_text("␣London")
    expect(page.locator("tr.gone .cut").first).to_have_text("Constraint")
    for _ in range(4):
        page.keyboard.press("g")
        expect(page.locator("[data-el=root]")).to_have_attribute("aria-busy", "false")
    expect(constraint).to_contain_text("complete: the text may only end")
    constraint.get_by_role("textbox").fill("(")
    constraint.get_by_role("textbox").blur()
    expect(page.locator("[data-el=note]")).to_contain_text("The constraint can't be used")


def test_xtc_says_how_likely_it_fires_and_what_the_coin_says(open_page):
    page = open_page()
    xtc = add(page, "xtc")
    expect(xtc.locator(".rule-kept")).to_contain_text("fires with probability 50.0 %")
    xtc.get_by_role("spinbutton", name="fires").fill("1")
    xtc.get_by_role("spinbutton", name="fires").press("Enter")
    expect(xtc.locator(".rule-kept")).not_to_contain_text("fires with")


def test_ticks_name_the_token_that_goes_and_take_one_there(open_page):
    page = open_page()
    page.get_by_role("radio", name="Min-p").click()
    goes = rule(page, "min_p").locator("button.tick.comes")
    expect(goes).to_contain_text("brings ␣the")
    assert rule(page, "min_p").locator(".ticks i").count() >= 2
    expect(page.locator("[data-el=summary]")).to_contain_text("1 of 49,152 tokens")
    goes.click()
    expect(page.locator("[data-el=summary]")).to_contain_text("2 of 49,152 tokens")
    expect(page.locator("tr.row:not(.gone) .pick").nth(1)).to_have_text("␣the")
    rule(page, "min_p").locator("button.tick.goes").click()
    expect(page.locator("[data-el=summary]")).to_contain_text("1 of 49,152 tokens")


def test_a_wrong_chain_is_refused_in_japanese(open_page):
    page = open_page(locale="ja-JP")
    page.get_by_role("button", name="チェーン JSON").click()
    page.locator("[data-el=chain-json]").fill('[{"step": "top_p", "p": 2}]')
    page.locator("[data-el=chain-apply]").click()
    expect(page.locator("[data-el=chain-error]")).to_have_text(
        "chain[0].p の値が正しくありません：2（条件：0 から 1 までの数）。"
    )
