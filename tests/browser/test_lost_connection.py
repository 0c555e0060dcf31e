"""A server that can't be reached, is killed, or whose answer gets lost: nothing is done twice."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, Route, expect

from explorer.session import from_link
from explorer.ui.store import SessionStore
from tests.conftest import ROOT, free_port
from tests.ui.serving import SlowBytes, served

pytestmark = pytest.mark.browser

SERVER = "**/component_server/"


class Server:
    """The app in a process of its own, which can be killed and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.scripted_app", str(self.port)],
            cwd=ROOT,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urlopen(self.url, timeout=5):
                    return
            except (URLError, OSError):
                assert self._process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def backend() -> SlowBytes:
    return SlowBytes(0)


@pytest.fixture
def page(backend: SlowBytes, open_page) -> Iterator[Page]:
    with served(backend) as (_, url):
        page = open_page(url=url)
        backend.watched.seconds = 0.03
        yield page


def length(page: Page) -> int:
    return int(page.locator("[data-el=length]").inner_text().split()[0])


def has_length(page: Page, count: int) -> None:
    expect(page.locator("[data-el=length]")).to_contain_text(f"{count} tokens")


def says(page: Page, text: str) -> None:
    expect(page.locator("[data-el=note]")).to_contain_text(text, timeout=60_000)


def step(page: Page) -> None:
    before = length(page)
    page.locator("[data-do=step]").click()
    has_length(page, before + 1)


def run(page: Page, count: int, until: int) -> None:
    page.locator("[data-el=run-count]").fill(str(count))
    page.locator("[data-do=sample-n]").click()
    page.wait_for_function(
        "n => parseInt(document.querySelector('[data-el=run-progress]').textContent) >= n",
        arg=until,
        polling=20,
    )


def copied(page: Page) -> int:
    """The length of the text that the tab has a copy of."""
    link = page.evaluate("sessionStorage.getItem('nte-copy')")
    state = from_link(link) if link else None
    return len(state["prompt"]["token_ids"]) + state["tree"]["cursor"] if state else 0


def text_of(page: Page) -> list[str]:
    return page.locator(".chip").all_inner_texts()


def test_a_server_killed_in_a_run_and_started_again_gives_the_session_back(
    open_page, server, until
):
    page = open_page(url=server.url)
    before = length(page)
    run(page, 1000, 8)
    until(lambda: copied(page) > before, 60)
    server.kill()
    says(page, "goes on by itself")
    reached = length(page)
    server.start()
    says(page, "It is here again from this tab's own copy")
    expect(page.locator("[data-el=stop]")).to_be_hidden()
    assert before < length(page) <= reached
    step(page)


def test_a_run_outlasts_a_connection_lost_for_a_while(page):
    before = length(page)
    run(page, 20, 4)
    page.context.set_offline(True)
    says(page, "goes on by itself")
    page.context.set_offline(False)
    expect(page.locator("[data-el=stop]")).to_be_hidden()
    has_length(page, before + 20)
    expect(page.locator("[data-el=note]")).to_be_hidden()
    page.locator("[data-do=undo]").click()
    has_length(page, before)


def test_what_was_done_though_its_answer_was_lost_is_not_done_twice(page):
    before, lost = length(page), []

    def lose(route: Route) -> None:
        data = json.loads(route.request.post_data or "")["data"]
        if data["action"] == "step" and not lost:
            lost.append(route.fetch().text())  # done on the server
            route.abort()
        else:
            route.continue_()

    page.route(SERVER, lose)
    step(page)
    assert len(lost) == 1 and "view" in lost[0]
    step(page)
    assert length(page) == before + 2


@pytest.mark.parametrize("by", ["a click", "a reload"])
def test_a_session_that_the_server_let_go_comes_back(page, monkeypatch, until, by):
    step(page)
    count = length(page)
    until(lambda: copied(page) == count, 20)
    text = text_of(page)
    with monkeypatch.context() as patch:
        patch.setattr(SessionStore, "_time_to_live_s", property(lambda store: 0), raising=False)
        other = page.context.new_page()
        other.goto(page.url)
        expect(other.locator("tr.row").first).to_be_visible()
    if by == "a click":
        page.locator("[data-do=step]").click()
    else:
        page.reload()
    says(page, "too much time went by")
    assert text_of(page) == text
    step(page)


def test_a_reload_goes_on_where_one_was(page):
    step(page)
    count = length(page)
    page.reload()
    has_length(page, count)
    expect(page.locator("[data-do=undo]")).to_be_enabled()  # the server had it: nothing is lost
    expect(page.locator("[data-el=note]")).to_be_hidden()


@pytest.mark.parametrize("duplicate", [False, True], ids=["new tab", "duplicated tab"])
def test_two_tabs_are_two_sessions(page, duplicate, until):
    step(page)
    count = length(page)
    until(lambda: copied(page) == count, 20)
    if duplicate:  # with all that the first one keeps
        with page.context.expect_page() as opened:
            page.evaluate("void open(location.href)")
        other = opened.value
        says(other, "independent of the tab")
        has_length(other, count)
        assert text_of(other) == text_of(page)
    else:
        other = page.context.new_page()
        other.goto(page.url)
        expect(other.locator("tr.row").first).to_be_visible()
    begun = length(other)
    step(other)
    step(other)
    page.reload()
    has_length(page, count)
    other.reload()
    has_length(other, begun + 2)
