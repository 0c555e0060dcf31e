"""Who never fetches an answer costs nothing for long, and who waits for one is not forgotten."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gradio_client import Client

from explorer.ui.unread import keep_few_unread
from tests.ui.serving import SlowBytes, served

MOST = 20
CALLS = 2 * MOST + 10


class Script:
    """Asks and, if it feels like it, comes back for the answer."""

    def __init__(self, demo: Any, url: str) -> None:
        self.queue, self.url = demo._queue, url
        self.http = httpx.Client(base_url=f"{url}gradio_api/call/", timeout=20)

    def ask(self, name: str, *data: Any, **more: Any) -> str:
        answer = self.http.post(name, json={"data": data, **more})
        assert answer.status_code == 200, answer.text
        event: str = answer.json()["event_id"]
        return event

    def tokenize(self, prompt: str, **more: Any) -> str:
        """Asks, and waits until it is done, but not for the answer."""
        event = self.ask("tokenize", prompt, None, None, None, **more)
        while event in self.queue.event_ids_to_events:
            time.sleep(0.002)
        return event

    def fetch(self, name: str, event: str) -> str:
        return self.http.get(f"{name}/{event}").text


@pytest.fixture
def script() -> Iterator[Script]:
    with served(SlowBytes(0)) as (demo, url):
        keep_few_unread(demo._queue, MOST)
        yield Script(demo, url)


def test_the_oldest_answers_that_nobody_fetches_are_forgotten(script: Script) -> None:
    events = [script.tokenize(f"<{number}>") for number in range(CALLS)]
    most = 2 * MOST + 1  # whose last answer was just forgotten goes with the next call
    assert len(script.queue.pending_messages_per_session) <= most
    assert len(script.queue.pending_event_ids_session) <= most
    kept = f'"bytes_hex": "{str(CALLS - 1)[-1].encode().hex()}"'
    assert kept in script.fetch("tokenize", events[-1])
    assert events[0] not in {*script.queue.pending_messages_per_session}


def test_answers_of_one_session_that_nobody_fetches_are_forgotten(script: Script) -> None:
    for _ in range(CALLS):
        script.tokenize("a", session_hash="greedy")
    assert len(script.queue.pending_event_ids_session["greedy"]) <= MOST + 1
    messages = script.queue.pending_messages_per_session["greedy"]
    assert messages.qsize() <= 4 * (MOST + 1)  # how long it waits, that it begins, the answer


def test_what_was_fetched_leaves_nothing(script: Script) -> None:
    for _ in range(CALLS):
        script.fetch("tokenize", script.tokenize("a"))
    assert len(script.queue.pending_messages_per_session) <= MOST + 1
    assert len(script.queue.pending_event_ids_session) <= MOST + 1


def test_the_line_goes_on_when_thousands_pass_somebody_who_waits() -> None:
    backend = SlowBytes(0)
    with served(backend) as (demo, url):
        script = Script(demo, url)
        backend.watched.go.clear()
        held = [script.ask("generate", "ab", None, None, None, "pure", 0, 1) for _ in range(5)]
        while len(demo._queue) > 1:  # four are in work, one waits in the line
            time.sleep(0.002)
        for number in range(3000):  # more than Gradio remembers the sessions of
            demo._queue.pending_messages_per_session[f"passing {number}"] = asyncio.Queue()
        for number in range(3):
            script.tokenize(str(number))
        backend.watched.go.set()
        for event in held:
            assert '"stop_reason"' in script.fetch("generate", event)
        assert Client(url, verbose=False).predict(prompt="a", api_name="/tokenize")["tokens"]
