"""What a user types is only ever text."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SCRIPTS = [
    "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>",
    "${Object.assign(window,{pwned:1})} {{constructor}} {{{x}}} `${window.pwned=1}`",
    "</textarea><svg onload=window.pwned=1> \\u \\x",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_in_a_prompt_are_shown_and_not_run(open_page, script):
    page = open_page()
    page.locator("[data-el=prompt]").fill(script)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=prompt-state]")).to_have_text("")
    expect(page.locator(".chip").first).not_to_have_text("The")
    shown = "".join(page.locator(".chip").all_inner_texts())
    assert shown.replace("␣", " ") == script
    page.locator(".chip").first.hover()
    page.get_by_role("button", name="Step", exact=True).click()
    page.reload()
    expect(page.locator(".chip").first).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert page.locator(".nte img, .nte script").count() == 0


def test_a_megabyte_is_refused_in_words_and_the_session_survives(open_page):
    page = open_page()
    page.locator("[data-el=prompt]").fill("0123456789 abc " * 70_000)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=note]")).to_contain_text("the model's context holds 8,192")
    expect(page.locator("[data-el=length]")).to_contain_text("5 tokens")


def test_an_empty_prompt_starts_from_the_start_token(open_page):
    page = open_page()
    page.locator("[data-el=prompt]").fill("")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator(".chip.special")).to_have_text("<|im_start|>")


def test_null_bytes_and_control_characters_are_visible(open_page):
    page = open_page()
    page.evaluate(
        "document.querySelector('[data-el=prompt]').value = 'a\\u0000b\\u202e\\tc\\u0007'"
    )
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".chip").first).to_have_text("a")
    shown = "".join(page.locator(".chip").all_inner_texts())
    assert shown == "a␀b⟨U+202E⟩⇥c␇"


def test_a_lone_surrogate_is_named(open_page):
    page = open_page()
    page.evaluate("document.querySelector('[data-el=prompt]').value = 'ab\\ud800'")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("[data-el=note]")).to_contain_text("surrogate")
    expect(page.locator("[data-el=length]")).to_contain_text("5 tokens")


def test_a_model_that_does_not_exist_leaves_the_session_as_it_was(open_page):
    page = open_page()
    page.locator("[data-el=model]").select_option(label="Other…")
    page.get_by_label("Other model").fill("/no/such/folder")
    page.locator("[data-el=load-other]").click()
    expect(page.locator("[data-el=note]")).to_contain_text("There is no model “/no/such/folder”")
    expect(page.locator("[data-el=model]")).to_have_value("smollm2-135m-instruct")
    expect(page.locator(".chip").last).to_have_text("␣is")


def test_a_server_that_does_not_answer_is_said_and_can_be_tried_again(open_page):
    page = open_page()
    page.route("**/component_server/**", lambda route: route.abort())
    page.route("**/component_server", lambda route: route.abort())
    page.clock.install()
    page.keyboard.press("g")
    expect(page.locator("[data-el=note]")).to_contain_text("Trying again")
    for _ in range(20):
        page.clock.run_for(2_000)
    expect(page.locator("[data-el=note]")).to_contain_text("No answer from the server")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".chip").last).to_have_text("␣Paris")
