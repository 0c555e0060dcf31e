"""Stop, a closed tab, and a crowd before the model, on an app whose passes can be counted."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from explorer.backends.base import TooBusy
from tests.ui.serving import SlowBytes, served

pytestmark = pytest.mark.browser

STEP_S = 0.05


class Crowded(SlowBytes):
    """Has no room in its line, for as long as a test wants."""

    full = False

    def next_distribution(self, prefix):
        if self.full and prefix not in self._distributions:
            raise TooBusy(waiting=200, limit=200)
        return super().next_distribution(prefix)


@pytest.fixture
def backend() -> Crowded:
    return Crowded(0)


@pytest.fixture
def page(backend: Crowded, open_page) -> Iterator[Page]:
    with served(backend) as (_, url):
        page = open_page(url=url)
        backend.watched.seconds = STEP_S
        yield page


def run(page: Page, count: int) -> None:
    page.locator("[data-el=run-count]").fill(str(count))
    page.locator("[data-do=sample-n]").click()


def has_run(page: Page, tokens: int) -> None:
    page.wait_for_function(
        "n => parseInt(document.querySelector('[data-el=run-progress]').textContent) >= n",
        arg=tokens,
        polling=20,
    )


def test_a_tab_closed_in_a_run_of_100_ends_it_within_one_token(page, backend, until):
    run(page, 100)
    has_run(page, 5)
    page.close()
    begun = backend.watched.forwards
    assert backend.watched.rest(10 * STEP_S) <= 1
    assert begun < 90


def test_stop_ends_a_run_within_one_token(page, backend):
    run(page, 100)
    has_run(page, 5)
    page.locator("[data-el=stop]").click()
    begun = backend.watched.forwards
    assert backend.watched.rest(10 * STEP_S) <= 1
    assert begun < 90
    expect(page.locator("[data-el=stop]")).to_be_hidden()


def test_a_closed_tab_ends_a_look_ahead(page, backend):
    page.locator("[data-el=ahead-open]").click()
    page.locator("[data-ahead=side]").click()
    page.locator("[data-el=ahead-run]").click()
    page.wait_for_function("document.querySelector('[data-el=ahead-body]').rows.length > 0")
    page.close()
    begun = backend.watched.forwards
    assert backend.watched.rest(10 * STEP_S) <= 1
    assert begun < 100


def test_a_run_outlasts_a_crowd(page, backend):
    run(page, 12)
    has_run(page, 3)
    backend.full = True
    note = page.locator("[data-el=note]")
    expect(note).to_contain_text("goes on by itself")
    begun = backend.watched.forwards
    assert backend.watched.rest(10 * STEP_S) == 0
    backend.full = False
    expect(page.locator("[data-el=stop]")).to_be_hidden()
    expect(note).to_be_hidden()
    assert page.locator("[data-el=run-progress]").inner_text() in ("", "12 of 12")
    assert backend.watched.forwards > begun
    page.locator("[data-do=undo]").click()
    expect(page.locator("[data-do=undo]")).to_be_disabled()  # one undo takes all back


def test_stop_ends_the_waiting_of_a_run(page, backend):
    run(page, 12)
    has_run(page, 3)
    backend.full = True
    note = page.locator("[data-el=note]")
    expect(note).to_contain_text("goes on by itself")
    page.locator("[data-el=stop]").click()
    expect(page.locator("[data-el=stop]")).to_be_hidden()
    expect(note).to_be_hidden()


@pytest.mark.parametrize(
    ("language", "says"), [("en", "200 requests wait already"), ("ja", "200 件が待機中")]
)
def test_a_click_that_finds_no_room_is_told_so_and_can_be_made_again(page, backend, language, says):
    page.locator(f"[data-language={language}]").click()
    length = page.locator("[data-el=length]").inner_text()
    backend.full = True
    page.locator("[data-do=step]").click()
    expect(page.locator("[data-el=note]")).to_contain_text(says)
    assert page.locator("[data-el=length]").inner_text() == length
    backend.full = False
    page.locator("[data-el=note-retry]").click()
    expect(page.locator("[data-el=note]")).to_be_hidden()
    expect(page.locator("[data-el=length]")).not_to_have_text(length)
