"""The page on a server that sends its most probable tokens only."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from explorer.backends import ScriptedBackend
from explorer.ui import build_ui
from tests.ui.asking import FakeModels

pytestmark = pytest.mark.browser

PROMPT = "The capital of France is"  # the page's first example


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    words = [PROMPT, " Paris", " the", " London", *(f" w{number}" for number in range(60))]
    weights = [1e-6, *(1 / rank**1.5 for rank in range(1, len(words)))]
    backend = ScriptedBackend(
        [word.encode() for word in words], {(0,): weights}, top_n=10, model_id="server"
    )
    demo = build_ui(FakeModels(small=backend))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


def set_chain(page: Page, chain: list[dict[str, object]]) -> None:
    page.locator("[data-el=open-chain]").click()
    box = page.locator("dialog[open] textarea")
    box.fill(json.dumps(chain))
    page.locator("dialog[open] [data-t=chain_apply]").click()


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_the_page_says_what_is_exact_and_what_is_not(open_page, server_url, locale):
    page = open_page(url=server_url, locale=locale)
    says = {
        "en-US": ("sent 10 of 64 tokens", "are exact", "between bounds", "not sent by the server"),
        "ja-JP": ("64 個中 10 個", "正確です", "範囲でしか", "サーバーが送らなかった"),
    }[locale]
    expect(page.locator("[data-el=summary]")).to_contain_text(says[0])
    expect(page.locator("[data-el=certainty]")).to_contain_text(says[1])
    expect(page.locator("tr.other")).to_contain_text(says[3])
    first = page.locator("tr.row").first.locator("td")
    assert first.nth(3).inner_text() == first.nth(4).inner_text()  # not renormalised
    expect(page.locator("[data-el=dice-unsent]")).to_be_visible()

    set_chain(page, [{"step": "temperature", "temperature": 1.5}])
    expect(page.locator("[data-el=certainty]")).to_contain_text(says[2])
    expect(first.nth(4)).to_contain_text("–")
    assert first.nth(4).evaluate("cell => cell.scrollWidth <= cell.clientWidth")

    set_chain(page, [{"step": "top_k", "k": 3}])
    expect(page.locator("[data-el=certainty]")).to_contain_text(says[1])
    expect(page.locator("[data-el=dice-unsent]")).to_be_hidden()


def test_the_bounds_fit_a_phone(open_page, server_url):
    page = open_page(url=server_url, width=360, height=780)
    set_chain(page, [{"step": "temperature", "temperature": 1.5}])
    cell = page.locator("tr.row").first.locator("td").nth(4)
    expect(cell).to_contain_text("–")
    assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
