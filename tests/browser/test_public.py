"""The page in public mode: its limits in words, and nothing that the policy has to stop."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from explorer.backends import ScriptedBackend
from explorer.settings import PUBLIC, Hosting
from tests.ui.asking import FakeModels
from tests.ui.serving import BYTES, served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def public_url(monkeypatch_module: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch_module.setattr(FakeModels, "public", True)
    backend = ScriptedBackend(BYTES, context_length=3000, model_id="bytes")
    limits = PUBLIC.with_changes("prompt_characters=100,prompt_tokens=50,beams=3")
    with served(backend, Hosting(limits=limits)) as (_, url):
        yield url


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize(
    ("locale", "too_long", "too_many"),
    [
        ("en-US", "101 characters; this server allows 100", "51 tokens; this server allows 50"),
        ("ja-JP", "101 文字ありますが、このサーバーでは 100 文字まで", "51 トークンありますが"),
    ],
)
def test_limits_are_told_before_and_after(
    open_page, public_url: str, locale: str, too_long: str, too_many: str
) -> None:
    page = open_page(locale=locale, url=public_url)
    note = page.locator("[data-el=note-text]")
    for text, said in (("a" * 101, too_long), ("a" * 51, too_many)):
        page.locator("[data-el=prompt]").fill(text)
        page.locator("[data-el=ask]").click()
        expect(note).to_contain_text(said)
    expect(page.locator("[data-el=ahead-width]")).to_have_attribute("max", "3")
    assert "100" in (page.locator("[data-el=prompt]").get_attribute("title") or "")
    page.locator("[data-el=help]").click()
    expect(page.locator("dialog[open]")).to_contain_text("40")
    assert page.locator("[data-el=model] option[value='']").count() == 0


def test_the_policy_stops_strangers_and_nothing_of_the_page(open_page, public_url: str) -> None:
    page = open_page(url=public_url)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.reload()
    expect(page.locator("tr.row").first).to_be_visible()
    page.locator("[data-el=theme]").click()
    assert [text for text in refused if "Content Security Policy" in text] == []
    stopped = page.evaluate(
        """() => new Promise(done => {
          addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
          document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.2:9/x.png' }));
        })"""
    )
    assert stopped == "img-src"
