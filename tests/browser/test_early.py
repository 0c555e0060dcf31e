"""The page opened while its model is on its way: a table of an earlier start, and what it says."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from explorer.backends import ScriptedBackend
from explorer.ui import build_ui
from tests.ui.asking import FakeModels, first_table

pytestmark = pytest.mark.browser

PROMPT = "The capital of France is"  # the page's first example
SAYS = {
    "en-US": ("at an earlier start.", "is still loading"),
    "ja-JP": ("以前の起動時", "読み込み中です"),
}


def scripted(weights: list[float]) -> ScriptedBackend:
    words = [PROMPT, " Paris", " the", " London"]
    return ScriptedBackend([word.encode() for word in words], {(0,): weights}, model_id="small")


@pytest.fixture
def on_the_way() -> FakeModels:
    backend = scripted([0.1, 0.6, 0.2, 0.1])
    models = FakeModels(small=backend)
    models.first_tables = {"small": first_table(backend, PROMPT)}
    models.phase = "loading"
    return models


@pytest.fixture
def url(on_the_way: FakeModels) -> Iterator[str]:
    demo = build_ui(on_the_way)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_a_table_before_the_model_and_a_click_that_waits_for_it(open_page, on_the_way, url, locale):
    page = open_page(url=url, locale=locale)
    early, final = page.locator("[data-el=early]"), page.locator("tr.row td:nth-child(5)")
    for says in SAYS[locale]:
        expect(early).to_contain_text(says)
    assert early.evaluate("note => note.scrollWidth <= note.clientWidth")
    expect(page.locator("[data-el=loading]")).to_be_hidden()
    expect(final.first).to_contain_text("60")

    page.locator("[data-strategy=greedy]").click()  # rules need no model
    expect(final.first).to_contain_text("100")
    expect(early).to_be_visible()

    page.locator("[data-do=step]").click()
    expect(page.locator("[data-el=loading]")).to_be_visible()
    expect(page.locator(".chip.of-text")).to_have_count(0)
    on_the_way.phase = "ready"
    expect(page.locator(".chip.of-text")).to_have_text("␣Paris")
    expect(early).to_be_hidden()
    page.locator("[data-do=undo]").click()
    expect(page.locator(".chip.of-text")).to_have_count(0)
    expect(final.first).to_contain_text("100")


def test_once_the_model_is_there_it_makes_the_table_anew(open_page, on_the_way, url):
    page = open_page(url=url)
    on_the_way.backends["small"] = scripted([0.1, 0.2, 0.6, 0.1])  # to be told apart
    page.locator("[data-el=prompt]").fill("what is being typed")
    page.locator("h1").click()
    on_the_way.phase = "ready"
    expect(page.locator("[data-el=early]")).to_be_hidden()
    expect(page.locator("tr.row").first).to_contain_text("␣the")
    expect(page.locator("[data-el=prompt]")).to_have_value("what is being typed")


def test_a_load_that_fails_is_told(open_page, on_the_way, url):
    page = open_page(url=url)
    on_the_way.phase = "failed"
    expect(page.locator("[data-el=note]")).to_be_visible()
    expect(page.locator("[data-el=early]")).to_have_text(
        "Computed by these weights at an earlier start."
    )
    on_the_way.phase = "ready"
    page.locator("[data-el=note-retry]").click()
    expect(page.locator("[data-el=early]")).to_be_hidden()
