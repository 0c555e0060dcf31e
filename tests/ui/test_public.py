"""Public mode: what is offered, who may hold how much, and what gets out when something fails."""

import asyncio
import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from explorer.backends import LocalModels, ScriptedBackend
from explorer.backends.base import ModelUnavailable, TooBusy
from explorer.backends.catalogue import DEFAULT_MODEL
from explorer.session import Prompt, Session, to_link
from explorer.session.session import Moment
from explorer.session.tree import Tree
from explorer.settings import NAMES, PUBLIC, Hosting, Limits, hosting_of, read_settings
from explorer.ui import results as results_module
from explorer.ui.actions import Actions
from explorer.ui.api import Api
from explorer.ui.clients import client_of
from explorer.ui.messages import Refused
from explorer.ui.store import SessionStore
from explorer.ui.workers import Workers
from tests.conftest import ROOT
from tests.ui.asking import FakeModels
from tests.ui.serving import BYTES, SlowBytes, served
from tests.ui.test_gate import App
from tests.ui.test_leaving import in_a_loop_of_its_own

Until = Callable[[Callable[[], bool], float], None]
SMALL = Limits(
    table_rows=20,
    endpoint_rows=9,
    run_tokens=3,
    beams=2,
    ahead_tokens=3,
    ahead_nodes=4,
    pinned_words=1,
    rolls=10,
    followed_passes=2,
    chain_characters=100,
    tree_nodes=3,
    undo_steps=2,
    prompt_tokens=6,
    file_characters=5000,
    link_characters=3000,
)
KEY = str(uuid.uuid4())


@pytest.fixture
def act() -> Callable[..., dict[str, Any]]:
    backend = ScriptedBackend(BYTES, context_length=100, model_id="small")
    actions = Actions(FakeModels(small=backend), SessionStore(limits=SMALL), SMALL)

    def act(action: str, **more: Any) -> dict[str, Any]:
        return actions.act({"action": action, "key": KEY, "top_n": 10, **more})

    assert "ok" in act("ask", prompt="ab")
    return act


# limits


@pytest.mark.parametrize(
    ("action", "more", "parameter", "most"),
    [
        ("open", {"top_n": 21}, "top_n", 20),
        ("ahead", {"kind": "beam", "width": 3, "depth": 2}, "width", 2),
        ("ahead", {"kind": "beam", "width": 2, "depth": 4}, "depth", 3),
        ("ahead", {"kind": "greedy", "depth": 4}, "depth", 3),
        ("ahead", {"kind": "cover", "share": 0.5, "depth": 2, "most_nodes": 5}, "most_nodes", 4),
        ("roll", {"count": 11}, "count", 10),
        ("roll", {"count": 10**400}, "count", 10),
        ("roll", {"count": float("inf")}, "count", 10),
        ("characters", {"passes": 3}, "passes", 2),
    ],
)
def test_more_than_is_allowed_is_named(
    act: Callable[..., dict[str, Any]], action: str, more: dict[str, Any], parameter: str, most: int
) -> None:
    facts = act(action, **more)["error"]["facts"]
    assert (facts["parameter"], facts["high"]) == (parameter, most)
    assert facts["allowed"].endswith(f" to {most}")


def test_what_is_allowed_goes_through(act: Callable[..., dict[str, Any]]) -> None:
    for action, more in [
        ("open", {"top_n": 20}),
        ("ahead", {"kind": "beam", "width": 2, "depth": 3}),
        ("roll", {"count": 10}),
        ("characters", {"passes": 2}),
        ("words", {"words": ["a"]}),
    ]:
        assert "ok" in act(action, **more)


def test_a_list_of_words_and_a_chain_have_a_length(act: Callable[..., dict[str, Any]]) -> None:
    assert "at most 1 texts" in act("words", words=["a", "b"])["error"]["facts"]["allowed"]
    chain = [{"step": "logit_bias", "bias": {str(token): 1 for token in range(50)}}]
    error = act("settings", chain=chain)["error"]
    assert error["code"] == "limit_chain_characters" and error["facts"]["limit"] == 100
    assert "ok" in act("settings", chain=[{"step": "top_k", "k": 3}])


def test_a_tree_grows_to_its_limit_and_reset_empties_it(
    act: Callable[..., dict[str, Any]],
) -> None:
    for _ in range(3):
        assert "ok" in act("step")
    error = act("step")["error"]
    assert (error["code"], error["facts"]) == ("limit_tree_nodes", {"value": 4, "limit": 3})
    assert "ok" in act("rewind", depth=0)  # what grows nothing still goes
    assert act("open")["ok"]["view"]["node_count"] == 3
    act("reset")
    assert "ok" in act("step")


def test_undo_goes_back_so_far_and_no_further(act: Callable[..., dict[str, Any]]) -> None:
    for _ in range(3):
        act("step")
    assert [act("undo")["ok"]["view"]["length"] for _ in range(2)] == [4, 3]
    assert act("undo")["ok"]["view"]["can_undo"] is False


def test_a_session_that_comes_in_is_within_the_limits(act: Callable[..., dict[str, Any]]) -> None:
    for _ in range(3):
        act("step")
    file = act("json")["ok"]["json"]
    state = json.loads(file)
    assert "ok" in act("load", file=file)
    wide = {**state, "prompt": {**state["prompt"], "token_ids": [1] * 7}}
    deep = {**state, "tree": {**state["tree"], "nodes": state["tree"]["nodes"] * 2}}
    for changed, code, value in [(wide, "prompt_tokens", 7), (deep, "tree_nodes", 6)]:
        for how in ({"file": json.dumps(changed)}, {"link": to_link(changed)}):
            error = act("load", **how)["error"]
            assert error["code"] == f"limit_{code}" and error["facts"]["value"] == value
    bomb = to_link({"model": {"name": "small"}, "x": "y" * 10**6})
    assert len(bomb) < 3000
    assert act("load", link=bomb)["error"]["code"] == "state_too_big"
    assert act("open")["ok"]["view"]["length"] == 5


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("beam=3", "'beam' must be one of prompt_characters, "),
        ("beams=17", "beams must be a whole number from 1 to 16, got '17'"),
        ("beams=0", "got '0'"),
        ("beams=-1", "got '-1'"),
        ("beams=1_0", "got '1_0'"),
        ("beams=٣", "got '٣'"),
        ("beams", "got ''"),
        ("beams=" + "9" * 5000, "beams must be a whole number"),
    ],
)
def test_a_wrong_limit_is_named(said: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        PUBLIC.with_changes(said)


def test_the_operator_may_set_each_limit() -> None:
    assert PUBLIC.with_changes("") is not Limits() and PUBLIC.with_changes("") == PUBLIC
    changed = PUBLIC.with_changes("beams=16, run_tokens = 7,")
    assert (changed.beams, changed.run_tokens, changed.rolls) == (16, 7, PUBLIC.rolls)


# who asks


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


# over HTTP


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


# failures

SECRET = "a prompt that nobody else may read"


class Broken(ScriptedBackend):
    """Fails with the user's own text in its message."""

    def encode(self, text: str) -> tuple[int, ...]:
        raise KeyError(f"no way to read {text!r}")


@pytest.mark.parametrize("with_prompts", [False, True])
def test_what_nobody_expected_is_a_number_for_the_user_and_a_place_in_the_log(
    with_prompts: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = Broken(BYTES, context_length=50, model_id="small")
    with (
        caplog.at_level(logging.DEBUG),
        served(backend, Hosting(log_prompts=with_prompts)) as (demo, url),
    ):
        app = App(demo, url)
        told = [
            app.act("ask", str(uuid.uuid4()), prompt=SECRET)["error"]["message"],
            app.call("score", [SECRET, None, None, None]),
        ]
    log = caplog.text + "".join(capfd.readouterr())
    for said in told:
        (number,) = re.findall(r"in the log under (\w{8})", said)
        assert f"failure {number}" in log and "KeyError" in log and "in encode" in log
        assert SECRET not in said and "Traceback" not in said and ".py" not in said
    assert (SECRET in log) is with_prompts


def test_a_failure_outside_of_ours_is_named_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ScriptedBackend(BYTES, context_length=50, model_id="small")
    with served(backend) as (demo, url):
        app = App(demo, url)
        monkeypatch.setattr(demo._queue, "push", None)
        answer = app.post("call/score", {"data": [SECRET, None, None, None]})
    assert answer.status_code == 500
    assert f"failure {answer.json()['facts']['number']}" in caplog.text
    assert SECRET not in caplog.text


# password and names


@pytest.fixture(scope="module")
def guarded() -> Iterator[App]:
    backend = ScriptedBackend(BYTES, context_length=50, model_id="small")
    hosting = Hosting(password="correct horse", hosts=("example.org",))
    with served(backend, hosting) as (demo, url):
        app = App.__new__(App)
        app.demo, app.url, app.http = demo, url, httpx.Client(base_url=url, timeout=20)
        app.component_id = next(iter(demo.blocks))
        yield app


def test_without_the_password_nothing_answers_but_the_way_in(guarded: App) -> None:
    assert "correct horse" not in guarded.http.get("").text
    for method, path in [
        ("GET", "config"),
        ("GET", "gradio_api/info"),
        ("GET", "gradio_api/openapi.json"),
        ("GET", "gradio_api/heartbeat/abc"),
        ("GET", "gradio_api/queue/data?session_hash=abc"),
        ("GET", "gradio_api/queue/status"),
        ("GET", "gradio_api/call/score/abc"),
        ("POST", "gradio_api/cancel"),
        ("POST", "gradio_api/reset"),
        ("POST", "gradio_api/component_server"),
        ("POST", "gradio_api/queue/join"),
        ("POST", "gradio_api/call/score"),
    ]:
        answer = guarded.http.request(method, path, json={})
        assert (answer.status_code, answer.json()["code"]) == (401, "not_logged_in"), path
    assert guarded.http.get("gradio_api/runs").status_code == 404


def test_a_wrong_password_is_refused_and_the_right_one_lets_in(guarded: App) -> None:
    for wrong in ("", "correct", "Correct horse", "correct horse ", "é"):
        answer = guarded.http.post("login", data={"username": "a", "password": wrong})
        assert answer.status_code in (400, 422), wrong
    assert guarded.http.get("config").status_code == 401
    with httpx.Client(base_url=guarded.url, timeout=20) as http:
        http.post("login", data={"username": "anyone", "password": "correct horse"})
        assert http.get("config").status_code == 200
        answer = http.post("gradio_api/component_server", json=guarded.envelope())
        assert answer.status_code == 200
    forged = f"access-token-unsecure-{guarded.demo.app.cookie_id}={'x' * 22}"
    assert guarded.http.get("config", headers={"cookie": forged}).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("example.org", 200),
        ("EXAMPLE.org:80", 200),
        ("127.0.0.1:7860", 200),
        ("evil.example", 400),
        ("sub.example.org", 400),
        ("example.org.evil.example", 400),
        ("", 400),
    ],
)
def test_only_its_own_names_are_answered(guarded: App, host: str, status: int) -> None:
    answer = guarded.http.get("robots.txt", headers={"host": host})
    assert answer.status_code == status
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("host", ["*", "a*b", "http://a", "a:80", "*.*"])
def test_a_name_that_can_not_be_is_named(host: str) -> None:
    with pytest.raises(ValueError, match="--hosts must be names such as"):
        Hosting(hosts=(host,))


def test_no_password_is_shown_with_the_settings() -> None:
    assert "horse" not in repr(Hosting(password="correct horse"))


# models

STRANGERS = [
    *("/etc/passwd", "~/.ssh", "../secret", "https://evil.example/model.gguf", "file:///etc"),
    *("someone/else", "model.gguf", "\\\\host\\share", "gpt2-xl", ""),
]


@pytest.mark.parametrize("name", STRANGERS)
def test_no_client_names_a_model_that_is_not_offered(name: str, tmp_path: Path) -> None:
    models = LocalModels(tmp_path, DEFAULT_MODEL, public=True, budget_bytes=2**20)
    actions, api = Actions(models, SessionStore(), PUBLIC), Api(models, PUBLIC)
    state = {"model": {"name": name}, "format": "next-token-explorer/1"}
    for request in (
        {"action": "ask", "prompt": "a", "model": name},
        {"action": "load", "file": json.dumps(state)},
        {"action": "load", "link": to_link(state)},
    ):
        error = actions.act({"key": KEY, **request})["error"]
        assert error["code"] == "model_not_public" and DEFAULT_MODEL in error["facts"]["allowed"]
    for endpoint in (api.tokenize, api.next_tokens, api.generate, api.score):
        with pytest.raises(ModelUnavailable, match="model must be one of"):
            endpoint(prompt="a", model=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "arguments", "public", "proxies"),
    [
        ({}, [], False, 0),
        ({"EXPLORER_PUBLIC": "1"}, [], True, 0),
        ({"EXPLORER_PUBLIC": "true"}, [], True, 0),
        ({"EXPLORER_PUBLIC": "0"}, [], False, 0),
        ({}, ["--public"], True, 0),
        ({"SPACE_ID": "a/b"}, [], True, 1),
        ({"SPACE_ID": "a/b", "EXPLORER_PROXIES": "2"}, [], True, 2),
    ],
)
def test_one_switch_makes_it_public(
    environment: dict[str, str],
    arguments: list[str],
    public: bool,
    proxies: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SPACE_ID", "EXPLORER_PUBLIC", "EXPLORER_PROXIES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chosen = read_settings(arguments)
    hosting = hosting_of(chosen)
    assert chosen.public is public
    assert hosting.limits == (PUBLIC if public else Limits())
    assert hosting.proxies == proxies
    assert ("https://huggingface.co" in hosting.frame_ancestors) is ("SPACE_ID" in environment)


def test_settings_that_can_not_be_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_LIMITS", "beams=99")
    with pytest.raises(ValueError, match="beams must be a whole number from 1 to 16"):
        hosting_of(read_settings([]))
    monkeypatch.setenv("EXPLORER_LIMITS", "beams=2")
    assert hosting_of(read_settings([])).limits.beams == 2
    with pytest.raises(ValueError, match="--proxies must be a whole number from 0 to 10"):
        hosting_of(read_settings(["--proxies", "11"]))


def test_the_readme_tells_every_limit_and_option() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in NAMES:
        private, public = getattr(Limits(), name), getattr(PUBLIC, name)
        assert f"| `{name}` | " in readme
        (row,) = re.findall(rf"^\| `{name}` \|.*$", readme, re.M)
        assert row.endswith(f"| {private:,} | {public:,} |")
    for option in ("LIMITS", "PASSWORD", "HOSTS", "PROXIES", "LOG_PROMPTS"):
        flag = f"--{option.lower().replace('_', '-')}"
        assert f"| `{flag}` | `EXPLORER_{option}" in readme
