"""Grammars that want all time and all memory: a named end, for whoever wrote them."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from explorer.backends import grammar
from explorer.backends.base import Asker, AskerGone, asked_by
from explorer.backends.grammar_trial import AT_ONCE
from explorer.decoding import Constraint
from tests.backends import tiny
from tests.ui.serving import served

CROWD, ROOM = 5, 3
PRIMES = (9_999_991, 9_999_973, 9_999_971, 9_999_943, 9_999_937)


def schema(value: Any) -> dict[str, str]:
    return {"json_schema": json.dumps(value)}


def deep(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        inner = {"type": "array", "items": inner}
    return inner


HOSTILE = [
    *({"regex": pattern} for pattern in ("(a*)*b", "(a|a)*b", "(x+x+)+y", ".{0,20000}")),
    *({"regex": pattern} for pattern in ("(a{1000}){1000}", "(((a{0,99}){0,99}){0,99}){0,99}")),
    {"regex": "|".join(f"word{number}" for number in range(2200))},
    {"regex": "(" * 9000 + "a" + ")" * 9000},
    {"regex": "(?<=a)b"},
    *(schema(value) for value in ({"$ref": "#"}, {"properties": {"a": {"$ref": "#"}}}, deep(300))),
    *(schema({"$ref": where}) for where in ("http://127.0.0.1:1/x", "file:///etc/passwd")),
    *(schema({"type": "string", "maxLength": most}) for most in (10**9, 10**30)),
    schema({"type": "array", "minItems": 10**6}),
]


class App:
    """The started app with a tiny model that writes bytes."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=120)
        parts = self.http.get("config").json()["components"]
        self.page = next(part["id"] for part in parts if part["props"].get("elem_id") == "explorer")

    def begin(self) -> str:
        key = str(uuid.uuid4())
        assert "ok" in self.act(key, "ask", prompt="One token after")
        return key

    def act(self, key: str, action: str, **more: Any) -> dict[str, Any]:
        body = {
            "session_hash": key,
            "component_id": self.page,
            "fn_name": "act",
            "data": {"action": action, "key": key, **more},
        }
        answer = self.http.post("gradio_api/component_server", json=body).raise_for_status()
        found: dict[str, Any] = json.loads(answer.json())
        return found

    def constrain(self, key: str, given: dict[str, str]) -> str:
        """The code of the answer to a chain of nothing else."""
        answer = self.act(key, "settings", chain=[{"step": "constraint", **given}])
        return str(answer["error"]["code"]) if "error" in answer else "ok"


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with served(tiny.backend("llama")) as (_, url):
        yield App(url)


@pytest.mark.parametrize("given", HOSTILE, ids=lambda given: next(iter(given.values()))[:30])
def test_a_hostile_grammar_is_used_or_refused_by_name(app: App, given: dict[str, str]) -> None:
    key = app.begin()
    code = app.constrain(key, given)
    assert code in ("ok", "grammar_refused", "parameter")
    assert "ok" in app.act(key, "sample")
    called = {"data": ["a", None, None, None, [{"step": "constraint", **given}], 0, 2]}
    event = app.http.post("gradio_api/call/generate", json=called).json()["event_id"]
    said = app.http.get(f"gradio_api/call/generate/{event}").text
    assert ("event: complete" if code == "ok" else "event: error") in said
    assert code == "ok" or "can't be used" in said or "must be" in said


def test_a_crowd_of_them_is_bounded_and_others_go_on(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "MAX_TRIALS", ROOM)
    monkeypatch.setattr(grammar, "_TRIALS", threading.BoundedSemaphore(ROOM))
    keys, other, most, clicks = [app.begin() for _ in PRIMES], app.begin(), 0, 0
    with ThreadPoolExecutor(CROWD) as pool:
        answers = [
            pool.submit(app.constrain, key, schema({"type": "integer", "multipleOf": prime}))
            for key, prime in zip(keys, PRIMES, strict=True)
        ]
        while not all(answer.done() for answer in answers):
            assert "ok" in app.act(other, "settings", seed=clicks)
            clicks += 1
            trials = [
                child
                for child in psutil.Process().children()
                if any("grammar_trial" in part for part in _command_of(child))
            ]
            most = max(most, len(trials))
    codes = sorted(answer.result() for answer in answers)
    assert codes == ["grammar_refused"] * ROOM + ["too_busy"] * (CROWD - ROOM)
    assert 1 <= most <= 2
    assert clicks >= 10, "a bystander's clicks came through meanwhile"
    assert app.constrain(keys[0], {"regex": "a+"}) == "ok", "the room is free again"


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def test_who_has_left_is_not_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that hangs up leaves no work behind."""
    began: list[Any] = []
    monkeypatch.setattr("subprocess.run", lambda *arguments, **_: began.append(arguments))
    gone, outcome = threading.Event(), []

    def wait() -> None:
        with asked_by(Asker(gone.is_set)):
            try:
                tiny.backend("llama").grammar(Constraint(regex="never compiled"), 1)
            except AskerGone:
                outcome.append("gone")

    with AT_ONCE, AT_ONCE:
        waiting = threading.Thread(target=wait)
        waiting.start()
        while grammar._TRIALS._value == grammar.MAX_TRIALS:
            time.sleep(0.002)
        gone.set()
    waiting.join()
    assert outcome == ["gone"] and began == []
