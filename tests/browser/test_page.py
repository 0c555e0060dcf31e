"""The main job, as a user does it: type, see, slide, step, sample, pick, go back."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, Request, expect

pytestmark = pytest.mark.browser


def tokens(page: Page) -> list[str]:
    return page.locator("tr.row:not(.other) .pick").all_inner_texts()


def chips(page: Page) -> list[str]:
    return page.locator(".chip").all_inner_texts()


def predict(page: Page, text: str) -> None:
    page.locator("[data-el=prompt]").fill(text)
    page.get_by_role("button", name=re.compile("Predict|予測する")).click()


def leave_field(page: Page) -> None:
    page.locator(".brand").click()


def length(page: Page) -> int:
    found = re.search(r"^([\d,]+) tokens", page.locator("[data-el=length]").inner_text())
    assert found
    return int(found[1].replace(",", ""))


def test_first_page_shows_a_table_of_real_predictions(open_page):
    page = open_page()
    assert tokens(page)[0] == "␣Paris"
    row = page.locator("tr.row").first.locator("td").all_inner_texts()
    assert row[0] == "1" and row[2] == "7042"
    assert 50 < float(row[3].removesuffix(" %")) < 95  # SmolLM2 is rather sure of Paris
    expect(page.locator("tr.row")).to_have_count(51)  # 50 candidates and the other tokens
    expect(page.locator("tr.other")).to_contain_text("other tokens (49,102)")


def test_typing_a_prompt_predicts_what_follows(open_page):
    page = open_page()
    predict(page, "One, two, three, four,")
    expect(page.locator("tr.row .pick").first).to_have_text("␣five")


def test_control_enter_predicts_and_an_edit_is_marked(open_page):
    page = open_page()
    box = page.locator("[data-el=prompt]")
    box.fill("The opposite of hot is")
    expect(page.locator("[data-el=prompt-state]")).to_contain_text("edited")
    box.press("Control+Enter")
    expect(page.locator("[data-el=prompt-state]")).to_have_text("")
    expect(page.locator("tr.row .pick").first).to_have_text("␣cold")


def test_strategies_and_sliders_reshape_the_table(open_page):
    page = open_page()
    summary = page.locator("[data-el=summary]")
    page.get_by_role("radio", name="Top-k").click()
    expect(summary).to_contain_text("40 of 49,152 tokens")
    expect(page.locator("tr.gone").first.locator(".cut")).to_have_text("Top-k")
    assert page.locator("tr.gone").count() == 10
    assert page.locator("tr.gone").first.locator("td").nth(4).inner_text() == "0 %"
    page.get_by_role("radio", name="Greedy").click()
    expect(summary).to_contain_text("1 of 49,152 tokens")
    expect(page.locator("[data-el=stop-note]")).to_contain_text("Only one candidate is left")
    slider = page.locator("#nte-temperature")
    expect(page.locator(".rule").first).to_contain_text("greedy")
    slider.focus()
    for _ in range(30):
        slider.press("ArrowRight")
    expect(page.get_by_role("radio", name="Custom")).to_have_attribute("aria-checked", "true")
    expect(summary).to_contain_text("49,152 of 49,152 tokens")


def test_numbers_can_be_typed_and_wrong_ones_are_refused_in_words(open_page):
    page = open_page()
    top_p = page.get_by_role("spinbutton", name="Top-p")
    top_p.fill("0.5")
    top_p.press("Enter")
    expect(page.locator("[data-el=summary]")).to_contain_text("1 of 49,152 tokens")
    top_p.fill("1.5")
    top_p.press("Enter")
    expect(page.locator("[data-el=note]")).to_contain_text("Top-p must be a number from 0 to 1")
    expect(top_p).to_have_value("0.5")


def test_step_sample_pick_rewind_undo_redo_reset(open_page):
    page = open_page()
    start = length(page)
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".chip").last).to_have_text("␣Paris")
    page.keyboard.press("s")
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start + 2} tokens")
    third = tokens(page)[2]
    page.locator("tr.row").nth(2).click()
    expect(page.locator(".chip").last).to_have_text(third)
    assert length(page) == start + 3
    page.locator(".chip").nth(start + 1).click()
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start + 1} tokens")
    page.keyboard.press("z")
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start + 3} tokens")
    page.keyboard.press("y")
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start + 1} tokens")
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start} tokens")
    assert tokens(page)[0] == "␣Paris"


def test_sampling_again_after_going_back_repeats_the_draw(open_page):
    page = open_page()
    start = length(page)
    page.keyboard.press("s")
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start + 1} tokens")
    page.keyboard.press("s")
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start + 2} tokens")
    first = chips(page)
    page.locator(".chip").nth(start).click()
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start} tokens")
    for more in (1, 2):
        page.keyboard.press("s")
        expect(page.locator("[data-el=length]")).to_contain_text(f"{start + more} tokens")
    assert chips(page) == first


def test_a_run_shows_progress_stops_and_is_undone_at_once(open_page):
    page = open_page()
    start = length(page)
    page.get_by_label("Tokens in a run").fill("200")
    page.get_by_role("button", name="Sample ×N").click()
    expect(page.locator("[data-el=run-progress]")).to_contain_text(re.compile("[3-9] of 200"))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert start < length(page) < start + 200
    leave_field(page)
    page.keyboard.press("z")
    expect(page.locator("[data-el=length]")).to_contain_text(f"{start} tokens")


def test_rows_are_picked_by_keyboard(open_page):
    page = open_page()
    second = tokens(page)[1]
    page.keyboard.press("t")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".chip").last).to_have_text(second)
    fourth = tokens(page)[3]
    page.keyboard.press("4")
    expect(page.locator(".chip").last).to_have_text(fourth)


def test_the_number_of_rows_goes_from_5_to_500(open_page):
    page = open_page()
    box = page.locator("[data-el=top-n]")
    for count in ("5", "500", "50"):
        box.fill(count)
        box.press("Enter")
        expect(page.locator("tr.row:not(.other)")).to_have_count(int(count))
    box.fill("501")
    box.press("Enter")
    expect(page.locator("[data-el=note]")).to_contain_text("from 5 to 500")
    expect(box).to_have_value("50")


def test_a_slider_asks_the_server_for_the_table_only(open_page):
    page = open_page()
    bodies: list[str] = []

    def keep(request: Request) -> None:
        if "component_server" in request.url:
            bodies.append(request.post_data or "")

    page.on("request", keep)
    page.locator("#nte-top_p").press("ArrowLeft")
    expect(page.locator("[data-el=summary]")).not_to_contain_text("100.0 %")
    assert [json.loads(body)["data"]["action"] for body in bodies] == ["settings"]


def test_chat_shows_every_template_token(open_page):
    page = open_page()
    page.get_by_role("button", name="A question, as chat").click()
    expect(page.locator(".chip.special").first).to_have_text("<|im_start|>")
    shown = chips(page)
    assert shown.count("<|im_start|>") == 3 and shown.count("<|im_end|>") == 2
    assert "⏎" in shown and "user" in shown


def test_the_end_of_the_text_stops_a_run_and_is_said(open_page):
    page = open_page()
    page.get_by_role("button", name="A question, as chat").click()
    expect(page.locator(".chip.special").first).to_be_visible()
    predict(page, "Answer with one word: is water wet?")
    page.get_by_role("radio", name="Greedy").click()
    page.get_by_label("Tokens in a run").fill("300")
    page.get_by_role("button", name="Step ×N").click()
    note = page.locator("[data-el=stop-note]")
    expect(note).to_contain_text("End of text", timeout=90_000)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator(".chip").last).to_have_text("<|im_end|>")
    page.get_by_role("button", name="Step", exact=True).click()  # one may go on all the same
    expect(page.locator(".chip").last).not_to_have_text("<|im_end|>")


def test_the_text_is_copied_with_its_real_spaces(open_page):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("g")
    expect(page.locator(".chip").last).to_have_text("␣Paris")
    page.get_by_role("button", name="Copy text").click()
    expect(page.locator("[data-el=note]")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "The capital of France is Paris"


def test_help_lists_the_shortcuts(open_page):
    page = open_page()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Shift+G")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_details_of_a_token_on_hover_and_focus(open_page):
    page = open_page()
    page.locator(".chip").nth(3).hover()
    pop = page.locator("[data-el=pop]")
    for part in ("id", "bytes", "rank", "probability", "surprisal", "20 46 72 61 6E 63 65"):
        expect(pop).to_contain_text(part)
    page.mouse.move(0, 0)
    expect(pop).to_be_hidden()
    first = page.locator(".chip").first
    assert "–" in (first.get_attribute("aria-label") or "")  # no probability before the first


def test_downloads_hold_the_table_and_the_session(open_page, tmp_path: Path):
    page = open_page()
    with page.expect_download() as csv:
        page.locator("[data-do=csv]").click()
    csv.value.save_as(tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 50 and table["token_id"][0] == 7042
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON", exact=True).click()
    saved.value.save_as(tmp_path / "session.json")
    session = json.loads((tmp_path / "session.json").read_text("utf-8"))
    assert session["prompt"]["text"] == "The capital of France is"
    assert session["table"][0]["bytes_hex"] == b" Paris".hex()


def test_a_reload_finds_the_session_again(open_page):
    page = open_page()
    page.keyboard.press("2")
    expect(page.locator("[data-el=length]")).to_contain_text("6 tokens")
    before = chips(page)
    page.reload()
    expect(page.locator("[data-el=length]")).to_contain_text("6 tokens")
    assert chips(page) == before


def test_two_tabs_do_not_disturb_each_other(open_page):
    one, other = open_page(), open_page()
    predict(one, "Two plus two is")
    one.keyboard.press("Escape")
    expect(one.locator(".chip").first).to_have_text("Two")
    other.keyboard.press("g")
    expect(other.locator(".chip").last).to_have_text("␣Paris")
    expect(one.locator("[data-el=length]")).to_contain_text("4 tokens")


def test_the_tokens_of_the_text_are_downloaded(open_page, tmp_path: Path):
    page = open_page()
    with page.expect_download() as download:
        page.locator("[data-do=path_csv]").click()
    download.value.save_as(tmp_path / "path.csv")
    table = pd.read_csv(tmp_path / "path.csv", encoding="utf-8-sig")
    assert len(table) == 5 and table["text"][4] == "␣is"


def test_a_key_pressed_while_a_slider_is_answered_is_not_lost(open_page):
    page = open_page()
    page.get_by_role("radio", name="Top-k").click()
    page.keyboard.press("g")
    expect(page.locator(".chip").last).to_have_text("␣Paris")


def test_what_is_set_while_a_token_is_on_its_way_is_not_lost(open_page):
    page = open_page()
    page.evaluate(
        """() => {
          document.querySelector('[data-do=step]').click();
          const rows = document.querySelector('[data-el=top-n]');
          rows.value = 7;
          rows.dispatchEvent(new Event('change'));
        }"""
    )
    expect(page.locator("tr.row:not(.other)")).to_have_count(7)
    expect(page.locator(".chip.of-text")).to_have_count(1)
