"""Public mode: what is offered, who gets in, and what gets out when something fails."""

import json
import logging
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio.queueing import Queue

from explorer.backends import LocalModels, ScriptedBackend
from explorer.backends.base import ModelUnavailable
from explorer.backends.catalogue import DEFAULT_MODEL
from explorer.session import to_link
from explorer.settings import NAMES, PUBLIC, Hosting, Limits, hosting_of, read_settings
from explorer.ui.actions import Actions
from explorer.ui.api import Api
from explorer.ui.store import SessionStore
from tests.conftest import ROOT
from tests.ui.serving import BYTES, served
from tests.ui.test_gate import App

KEY = str(uuid.uuid4())
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


def test_an_idle_queue_leaves_the_interpreter_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    length = Queue.__len__
    monkeypatch.setattr(Queue, "__len__", lambda queue: looks.append(1) or length(queue))
    backend = ScriptedBackend(BYTES, context_length=50, model_id="small")
    with served(backend) as (demo, url):
        App(demo, url).post("call/tokenize", {"data": ["a", None, None, None]})
        before, begun = len(looks), time.monotonic()
        time.sleep(1)
        rate = (len(looks) - before) / (time.monotonic() - begun)
    assert 1 < rate < 200  # Gradio by itself: a thousand a second


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
        asked = {"json": guarded.envelope(), "headers": {"host": "evil.example"}}
        assert http.post("gradio_api/component_server", **asked).status_code == 400
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
