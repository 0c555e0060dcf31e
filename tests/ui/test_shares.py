"""What one client may hold: threads, sessions, the queue, connections; and whose is whose."""

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from explorer.backends import ScriptedBackend
from explorer.backends.base import TooBusy
from explorer.session import Prompt, Session
from explorer.session.session import Moment
from explorer.session.tree import Tree
from explorer.settings import Hosting, Limits
from explorer.ui import results as results_module
from explorer.ui.actions import Actions
from explorer.ui.clients import client_of
from explorer.ui.messages import Refused
from explorer.ui.store import SessionStore
from explorer.ui.workers import Workers
from tests.ui.asking import FakeModels
from tests.ui.serving import BYTES, SlowBytes, served
from tests.ui.test_gate import App
from tests.ui.test_leaving import in_a_loop_of_its_own

Until = Callable[[Callable[[], bool], float], None]
KEY = str(uuid.uuid4())


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "client"),
    [
        ("9.9.9.9", "1.1.1.1", 0, "9.9.9.9"),  # nobody in front: what is claimed is not believed
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", 2, "1.1.1.1"),
        ("10.0.0.1", "", 1, "unknown"),
        ("10.0.0.1", "<script>", 1, "unknown"),
        ("::1", "", 0, "::/64"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:7.7.7.7", "", 0, "7.7.7.7"),
    ],
)
def test_who_a_client_is(peer: str, forwarded: str, proxies: int, client: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())]
    assert client_of({"client": (peer, 1), "headers": headers}, proxies) == client


def test_without_an_address_the_client_is_unknown() -> None:
    assert client_of({"client": None, "headers": []}, 0) == "unknown"


def test_a_client_holds_its_share_of_threads_and_no_more() -> None:
    workers, go = Workers(5, of_one_client=2), threading.Event()

    async def scene() -> None:
        mine = [asyncio.create_task(workers.run(go.wait, client="a")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await workers.run(lambda: 1, client="a")
        assert refused.value.facts == {"held": 2, "limit": 2}
        assert await workers.run(lambda: 1, client="b") == 1
        others = [asyncio.create_task(workers.run(go.wait, client=name)) for name in "bcd"]
        await asyncio.sleep(0)
        with pytest.raises(TooBusy):
            await workers.run(lambda: 1, client="e")
        go.set()
        await asyncio.gather(*mine, *others)
        assert await workers.run(lambda: 1, client="a") == 1

    in_a_loop_of_its_own(scene)


def test_who_opens_thousands_of_sessions_drives_out_its_own() -> None:
    store = SessionStore(limits=Limits(sessions=10))
    others = {key: store.slot(key, client=key) for key in "abc"}
    for number in range(5000):
        store.slot(f"greedy {number}", client="greedy")
    assert len(store) == 10
    assert all(store.slot(key, client=key) is slot for key, slot in others.items())


def test_who_fills_its_sessions_drives_out_its_own() -> None:
    store = SessionStore(limits=Limits(sessions_mib=1))

    def fill(key: str, client: str) -> None:
        session = Session(Moment("small", Prompt(""), Tree(tuple(range(3000)))))
        store.put(store.slot(key, client), session)

    fill("quiet", "quiet")
    for number in range(100):
        fill(f"greedy {number}", "greedy")
    assert 30 < len(store) < 60
    assert store.slot("quiet").session is not None
    assert store.slot("greedy 99").session is not None
    assert store.slot("greedy 0").session is None
    assert store._weight == sum(slot.weight for slot in store._slots.values())


def test_long_rules_weigh_as_much_as_they_take() -> None:
    backend = ScriptedBackend(BYTES, context_length=50, model_id="small")
    store = SessionStore()
    actions = Actions(FakeModels(small=backend), store)
    weights = []
    for bias in ({}, {str(token): 1.5 for token in range(200)}):
        key = str(uuid.uuid4())
        chain = [{"step": "logit_bias", "bias": bias}]
        actions.act({"action": "ask", "key": key, "prompt": "ab", "chain": chain})
        actions.act({"action": "step", "key": key})
        weights.append(store.slot(key).weight)
    assert weights[1] - weights[0] > 200 * 8


@pytest.fixture
def slow() -> Iterator[tuple[App, SlowBytes]]:
    backend = SlowBytes(0.0)
    hosting = Hosting(limits=Limits(requests_at_once=3), proxies=1)
    with served(backend, hosting) as (demo, url):
        backend.watched.go.clear()
        yield App(demo, url), backend
        backend.watched.go.set()


def test_one_client_can_not_hold_the_queue_of_the_endpoints(
    slow: tuple[App, SlowBytes],
) -> None:
    app, backend = slow
    body = {"data": ["ab", None, None, None, "pure", 0, 2]}
    mine = {"x-forwarded-for": "1.1.1.1"}
    for _ in range(3):
        assert app.post("call/generate", body, **mine).status_code == 200
    for path, more in [("call/generate", {}), ("queue/join", {"fn_index": 2, "session_hash": "a"})]:
        answer = app.post(path, {**body, **more}, **mine)
        assert answer.status_code == 429
        assert answer.json()["facts"] == {"held": 3, "limit": 3}
    assert (
        "このサーバーでは同時に 3 件まで"
        in (app.post("call/generate", body, **mine, **{"accept-language": "ja"}).json()["detail"])
    )
    assert app.post("call/generate", body, **{"x-forwarded-for": "2.2.2.2"}).status_code == 200
    backend.watched.go.set()


def test_nobody_cancels_what_another_one_asked(slow: tuple[App, SlowBytes], until: Until) -> None:
    app, backend = slow
    body = {"data": ["ab", None, None, None, "pure", 0, 2]}
    events = []
    for number in range(6):  # four run at once, two wait
        address = {"x-forwarded-for": f"1.1.1.{number}"}
        events.append(app.post("call/generate", body, **address).json()["event_id"])
    until(lambda: app.demo._queue.get_active_worker_count() == 4, 10)
    for event in (events[0], events[5]):
        for session in ("another", event[:-1] + "g"):
            call = {"session_hash": session, "fn_index": 2, "event_id": event}
            answer = app.post("cancel", call)
            assert answer.status_code == 422
            assert answer.json()["facts"]["parameter"] == "session_hash"
    for session in events[1:3]:  # of somebody else, and an event that there is not
        app.post("cancel", {"session_hash": "x" + session, "fn_index": 2, "event_id": "none"})
    own = {"session_hash": events[4], "fn_index": 2, "event_id": events[4]}
    assert app.post("cancel", own).status_code == 200
    assert len(app.demo._queue) == 1
    backend.watched.go.set()
    for event in (*events[:4], events[5]):
        said = app.http.get(f"gradio_api/call/generate/{event}").text
        assert "event: complete" in said


def test_one_client_can_not_hold_the_threads_of_the_page(
    slow: tuple[App, SlowBytes], until: Until
) -> None:
    app, backend = slow

    def ask(address: str, action: str = "ask") -> dict[str, Any]:
        data = {"action": action, "key": str(uuid.uuid4()), "prompt": "ab", "model": "small"}
        answer = app.post(
            "component_server", app.envelope(data=data), **{"x-forwarded-for": address}
        )
        found: dict[str, Any] = json.loads(answer.json())
        return found

    with ThreadPoolExecutor(4) as pool:
        try:
            waiting = [pool.submit(ask, "1.1.1.1") for _ in range(3)]
            until(lambda: backend.watched.forwards > 0, 10)
            until(lambda: "error" in ask("1.1.1.1", "status"), 10)
            error = ask("1.1.1.1", "status")["error"]
            assert (error["code"], error["facts"]) == ("too_many_yours", {"held": 3, "limit": 3})
            assert "ok" in ask("2.2.2.2", "status")
        finally:
            backend.watched.go.set()
        assert all("ok" in one.result(20) for one in waiting)


def test_answers_that_nobody_fetches_count_and_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    backend = ScriptedBackend(BYTES, context_length=50, model_id="small")
    hosting = Hosting(limits=Limits(requests_at_once=3), proxies=1)
    with served(backend, hosting) as (demo, url):
        app, queue = App(demo, url), demo._queue
        body = {"data": ["ab", None, None, None]}

        def begin(address: str) -> httpx.Response:
            return app.post("call/tokenize", body, **{"x-forwarded-for": address})

        for _ in range(3):
            assert begin("1.1.1.1").status_code == 200
        until(lambda: not queue.event_ids_to_events, 10)
        assert begin("1.1.1.1").status_code == 429
        kept = len(queue.pending_messages_per_session)
        monkeypatch.setattr(results_module, "KEPT_S", 0.1)
        begun = {begin("2.2.2.2").json()["event_id"] for _ in range(3)}
        until(lambda: not begun & queue.pending_event_ids_session.keys(), 10)
        assert len(queue.pending_messages_per_session) == kept
        assert begin("2.2.2.2").status_code == 200


def test_a_client_keeps_so_many_connections_open(until: Until) -> None:
    backend = ScriptedBackend(BYTES, context_length=50, model_id="small")
    with served(backend, Hosting(limits=Limits(connections=3), proxies=1)) as (demo, url):
        app = App(demo, url)
        mine = {"x-forwarded-for": "1.1.1.1"}
        with httpx.Client(base_url=url, headers=mine, timeout=20) as http:
            open_ones = [http.stream("GET", f"gradio_api/heartbeat/{n}") for n in range(3)]
            for one in open_ones:
                assert one.__enter__().status_code == 200
            answer = http.get("config")
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_yours")
            assert app.http.get("config").status_code == 200
            for one in open_ones:
                one.__exit__(None, None, None)
            until(lambda: http.get("config").status_code == 200, 20)
