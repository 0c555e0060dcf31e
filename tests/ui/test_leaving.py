"""Who leaves is not worked for, and who can't be let in is told so: the real app over HTTP."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError

from explorer.backends import passes
from explorer.backends.base import TooBusy, asker_here
from explorer.backends.local import LocalBackend
from explorer.ui.workers import Workers
from tests.ui.serving import Watched, served, slow_tiny

STEP_S = 0.05
PROMPT = "One token after"
Until = Callable[[Callable[[], bool], float], None]


class App:
    """The started app, its backend, and what its model is asked."""

    def __init__(self, demo: Any, url: str, backend: LocalBackend, watched: Watched) -> None:
        self.demo, self.url, self.backend, self.watched = demo, url, backend, watched
        self.http = httpx.Client(base_url=f"{url}gradio_api/", timeout=20)
        config = httpx.get(f"{url}config").json()
        self.component_id = next(
            part["id"]
            for part in config["components"]
            if part["props"].get("elem_id") == "explorer"
        )
        self.pool = ThreadPoolExecutor(20)

    @property
    def waiting(self) -> int:
        return len(self.backend._passes._turns._waiting)

    def act(self, action: str, key: str, *, timeout: float = 20, **more: Any) -> dict[str, Any]:
        """As the page asks; a timeout closes the connection, as a closed tab does."""
        body = {
            "session_hash": key,
            "component_id": self.component_id,
            "fn_name": "act",
            "data": {"action": action, "key": key, **more},
        }
        text = self.http.post("component_server", json=body, timeout=timeout).json()
        answer: dict[str, Any] = json.loads(text)
        return answer

    def meanwhile(self, *arguments: Any, **more: Any) -> Future[dict[str, Any]]:
        return self.pool.submit(self.act, *arguments, **more)

    def session(self, prompt: str) -> str:
        key = str(uuid.uuid4())
        assert "ok" in self.act("ask", key, prompt=prompt)
        return key

    def length(self, key: str) -> int:
        found: int = self.act("open", key)["ok"]["view"]["length"]
        return found

    def begin(self, max_tokens: int) -> str:
        """A run through the endpoint; the id of its event."""
        data = [PROMPT, None, None, None, "pure", 0, max_tokens]
        answer = self.http.post("call/generate", json={"data": data})
        found: str = answer.raise_for_status().json()["event_id"]
        return found


@pytest.fixture
def app() -> Iterator[App]:
    with slow_tiny(STEP_S) as (backend, watched), served(backend) as (demo, url):
        started = App(demo, url, backend, watched)
        yield started
        watched.go.set()
        started.pool.shutdown()


def test_a_cancelled_job_ends_within_one_token(app: App, until: Until) -> None:
    client = Client(app.url, verbose=False)
    job = client.submit(prompt=PROMPT, max_tokens=35, api_name="/generate")
    until(lambda: app.watched.forwards >= 5, 20)
    job.cancel()
    begun = app.watched.forwards
    assert app.watched.rest(10 * STEP_S) <= 1
    assert begun < 30
    answer = client.predict(prompt=PROMPT, max_tokens=3, api_name="/generate")
    assert len(answer["tokens"]) == 3


def test_a_dropped_connection_ends_its_run_within_one_token(app: App, until: Until) -> None:
    event = app.begin(35)
    with app.http.stream("GET", f"call/generate/{event}"):
        until(lambda: app.watched.forwards >= 5, 20)
    begun = app.watched.forwards
    assert app.watched.rest(10 * STEP_S) <= 1
    assert begun < 30


def test_a_caller_sees_one_event_with_the_whole_answer(app: App) -> None:
    event = app.begin(4)
    lines = app.http.get(f"call/generate/{event}").text.split("\n")
    assert [line for line in lines if line.startswith("event:")] == ["event: complete"]
    (answer,) = json.loads(lines[1].removeprefix("data: "))
    assert len(answer["tokens"]) == 4 and answer["stop_reason"] == "max_tokens"


def test_a_closed_tab_that_waits_in_line_costs_no_pass(app: App, until: Until) -> None:
    one, other, third = app.session(PROMPT), app.session(PROMPT + " a"), app.session(PROMPT + " b")
    app.watched.go.clear()
    begun = app.watched.forwards
    mine = app.meanwhile("step", one)
    until(lambda: app.watched.forwards == begun + 1, 5)
    lengths = app.length(other)
    with pytest.raises(httpx.ReadTimeout):
        app.act("step", other, timeout=0.3)
    last = app.meanwhile("step", third)
    until(lambda: app.waiting == 3, 5)
    app.watched.go.set()
    assert "ok" in mine.result(20) and "ok" in last.result(20)
    assert app.watched.forwards == begun + 2
    assert app.length(other) == lengths


def test_a_long_text_ends_with_the_part_in_which_its_tab_was_closed(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "PREFILL_CHUNK", 2)
    with pytest.raises(httpx.ReadTimeout):
        app.act("ask", str(uuid.uuid4()), prompt="the dog sleeps " * 6, timeout=4 * STEP_S)
    begun = app.watched.forwards
    assert app.watched.rest(10 * STEP_S) <= 1
    assert 0 < begun < 8


def test_who_finds_no_room_in_the_line_is_told_so_and_keeps_the_session(
    app: App, until: Until
) -> None:
    keys = [app.session(f"{PROMPT} {letter}") for letter in "abc"]
    turns = app.backend._passes._turns
    turns._limit = 2
    app.watched.go.clear()
    begun = app.watched.forwards
    waiting = [app.meanwhile("step", keys[0])]
    until(lambda: app.watched.forwards == begun + 1, 5)
    waiting.append(app.meanwhile("step", keys[1]))
    until(lambda: app.waiting == 2, 5)
    length = app.length(keys[2])
    error = app.act("step", keys[2])["error"]
    assert (error["code"], error["facts"]) == ("too_busy", {"waiting": 2, "limit": 2})
    assert app.length(keys[2]) == length  # nothing that is known already needs a place
    with pytest.raises(AppError, match="too many requests at once: 2 wait"):
        Client(app.url, verbose=False).predict(prompt="new", api_name="/next_tokens")
    app.watched.go.set()
    assert all("ok" in answer.result(20) for answer in waiting)
    assert "ok" in app.act("step", keys[2])


def test_a_full_queue_of_the_endpoints_is_a_named_error(app: App, until: Until) -> None:
    app.demo._queue.max_size = 1
    client = Client(app.url, verbose=False)
    app.watched.go.clear()
    for running in range(1, 5):  # as many as run at once
        app.begin(2)
        until(lambda running=running: app.demo._queue.get_active_worker_count() == running, 5)
    app.begin(2)
    answer = app.http.post("call/generate", json={"data": [PROMPT, None, None, None, "pure", 0, 2]})
    assert answer.status_code == 503
    assert answer.json()["detail"] == "Queue is full. Max size is 1 and size is 1."
    with pytest.raises(QueueError, match="Queue is full"):
        client.predict(prompt=PROMPT, api_name="/generate")
    app.watched.go.set()
    until(lambda: not len(app.demo._queue), 20)
    assert client.predict(prompt=PROMPT, max_tokens=2, api_name="/generate")["tokens"]


def in_a_loop_of_its_own(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Not in this thread: where a browser was tested before, Playwright's loop runs in it."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(scene())).result()


def test_more_requests_than_threads_are_refused_not_kept_waiting() -> None:
    workers, go = Workers(2), threading.Event()

    async def scene() -> None:
        busy = [asyncio.create_task(workers.run(go.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusy) as raised:
            await workers.run(lambda: 1)
        assert raised.value.facts == {"waiting": 2, "limit": 2}
        go.set()
        await asyncio.gather(*busy)
        assert await workers.run(lambda: 1) == 1

    in_a_loop_of_its_own(scene)


def test_a_cancelled_request_tells_its_thread() -> None:
    workers, begun, ended = Workers(1), threading.Event(), threading.Event()

    def work() -> None:
        asker = asker_here()
        assert asker is not None and not asker.has_left()
        begun.set()
        end = time.monotonic() + 5
        while not asker.has_left() and time.monotonic() < end:
            time.sleep(0.001)
        if asker.has_left():
            ended.set()

    async def scene() -> None:
        task = asyncio.create_task(workers.run(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        with pytest.raises(TooBusy):
            await workers.run(work)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_a_loop_of_its_own(scene)
    assert ended.wait(5)
