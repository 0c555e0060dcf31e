"""What Gradio leaves open, asked of the real app over HTTP: closed, bounded, or named."""

import json
import math
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from explorer.backends import ScriptedBackend
from explorer.settings import PUBLIC, Hosting, Limits
from tests.ui.serving import BYTES, served

LIMITS = Limits(prompt_characters=500, prompt_tokens=100, body_bytes=100_000, tree_nodes=5)
GENERATE = ["ab", None, None, None, "pure", 0, 2]


class App:
    """The started app, by plain HTTP."""

    def __init__(self, demo: Any, url: str) -> None:
        self.demo, self.url = demo, url
        self.http = httpx.Client(base_url=url, timeout=20)
        self.component_id = self.http.get("config").json()["components"][0]["id"]

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **headers}
        return self.http.post(f"gradio_api/{path}", content=content, headers=headers)

    def envelope(self, **more: Any) -> dict[str, Any]:
        data = {"action": "status", "key": str(uuid.uuid4())}
        return {
            "session_hash": "abc",
            "component_id": self.component_id,
            "fn_name": "act",
            "data": data,
            **more,
        }

    def act(self, action: Any, key: str, **more: Any) -> dict[str, Any]:
        data = {"action": action, "key": key, **more}
        answer = self.post("component_server", self.envelope(data=data))
        found: dict[str, Any] = json.loads(answer.raise_for_status().json())
        return found

    def call(self, name: str, data: list[Any]) -> str:
        """The last event of a call of an endpoint."""
        begun = self.post(f"call/{name}", {"data": data}).raise_for_status()
        return self.http.get(f"gradio_api/call/{name}/{begun.json()['event_id']}").text


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    backend = ScriptedBackend(BYTES, context_length=2000, model_id="bytes")
    with served(backend, Hosting(limits=LIMITS)) as (demo, url):
        yield App(demo, url)


# routes


@pytest.mark.parametrize(
    "path",
    [
        *("upload", "upload_progress?upload_id=1", "file=/etc/passwd", "file/etc/passwd", "runs"),
        *("proxy=https://example.org/", "vibe-code", "deep_link?session_hash=a", "token"),
        *("stream/a/b/1/playlist.m3u8", "custom_component/1/a/component/b", "run/generate"),
        *("api/generate", "process_recording", "dev/reload", "profiling/traces", "mcp/"),
        "../monitoring",
        f"call/{'a' * 1000}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_routes_that_nobody_needs_are_not_there(app: App, method: str, path: str) -> None:
    answer = app.http.request(method, f"gradio_api/{path}", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_page")


def test_an_upload_leaves_nothing_on_the_disk(app: App) -> None:
    answer = app.http.post("gradio_api/upload", files={"files": b"x" * 1000})
    assert answer.status_code == 404


def test_the_queue_can_not_be_passed_by(app: App) -> None:
    assert app.post("run/generate", {"data": GENERATE}).status_code == 404
    assert app.post("api/generate", {"data": GENERATE}).status_code == 404


# bodies


def test_the_page_is_answered_as_json_and_to_one_method(app: App) -> None:
    answer = app.post("component_server/", app.envelope())
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert "content-security-policy" in answer.headers
    assert json.loads(answer.json())["ok"]["status"]["phase"] == "ready"
    other = app.http.put("gradio_api/component_server", json=app.envelope())
    assert other.status_code == 405


@pytest.mark.parametrize("path", ["component_server", "call/generate", "queue/join", "cancel"])
def test_a_body_of_50_megabytes_is_refused_unread(app: App, path: str) -> None:
    """By its declared length: the connection closes before all of it is sent."""
    host, port = httpx.URL(app.url).host, httpx.URL(app.url).port
    with socket.create_connection((host, port), timeout=20) as raw:
        raw.sendall(
            f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {host}\r\n"
            "Content-Type: application/json\r\nContent-Length: 50000000\r\n\r\n".encode()
        )
        said = raw.recv(100_000)
        assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["component_server", "call/generate", "queue/join", "login"])
def test_a_body_without_a_length_is_counted(app: App, path: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200:
            sent += 1
            yield b'"' + b"a" * 10_000

    route = path if path == "login" else f"gradio_api/{path}"
    with httpx.Client(timeout=20) as http:
        try:
            answer = http.post(f"{app.url}{route}", content=endless())
        except httpx.WriteError:  # the server has closed while more was being sent
            return
    assert answer.status_code == 413
    facts = answer.json()["facts"]
    assert facts["limit"] == 100_000 < facts["value"] < 300_000


def test_what_is_refused_is_said_in_the_readers_language(app: App) -> None:
    body = b'"' + b"a" * 100_001
    english = app.post("call/generate", body).json()
    assert english["detail"] == "The request has 100002 bytes or more; this server allows 100000."
    japanese = app.post("call/generate", body, **{"accept-language": "ja,en;q=0.5"}).json()
    assert "100000 バイトまで" in japanese["detail"]


# envelopes

STRANGE: list[Any] = [None, True, 3, "a", [], {}, [[]], -1, 2**70, 0.5]


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("field", ["session_hash", "component_id", "fn_name"])
def test_a_strange_envelope_is_named(app: App, field: str, value: Any) -> None:
    if field == "session_hash" and value == "a":
        return
    answer = app.post("component_server", app.envelope(**{field: value}))
    assert answer.status_code == 422
    assert answer.json()["facts"]["parameter"] == field


@pytest.mark.parametrize("value", [*STRANGE, math.nan])
@pytest.mark.parametrize("field", ["session_hash", "fn_index", "data"])
def test_a_strange_place_in_the_queue_is_named(app: App, field: str, value: Any) -> None:
    good = {"session_hash": "abc", "fn_index": 2, "data": GENERATE}
    if (field, value) in [("session_hash", "a"), ("fn_index", 3)]:
        return
    answer = app.post("queue/join", {**good, field: value})
    assert answer.status_code == 422
    assert answer.json()["facts"]["parameter"] == field


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 50_000, b'"a"', b"\xff\xfe", b"NaN", b'{"data": 1e999}']
)
@pytest.mark.parametrize("path", ["component_server", "call/generate", "queue/join", "cancel"])
def test_what_is_no_call_is_named(app: App, path: str, body: bytes) -> None:
    answer = app.post(path, body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "parameter" and "must be" in answer.json()["detail"]


def test_a_call_by_names_is_checked(app: App) -> None:
    answer = app.post("call/v2/generate", {"prompt": "a", "temperature": 2})
    assert answer.status_code == 422 and "must be one of prompt" in answer.json()["detail"]
    assert app.post("call/v2/generate", {"prompt": "a", "max_tokens": 1}).status_code == 200


@pytest.mark.parametrize("name", ["act", "__init__", "predict", "lambda"])
def test_only_the_endpoints_are_called(app: App, name: str) -> None:
    answer = app.post(f"call/{name}", {"data": []})
    assert answer.status_code == 422
    assert "must be one of tokenize, next_tokens, generate, score" in answer.json()["detail"]
    assert (
        app.post(
            "component_server", app.envelope(fn_name=name if name != "act" else "x")
        ).status_code
        == 422
    )


# values


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", "2.5", "1e2", '"3"', "[]", "{}"])
@pytest.mark.parametrize("place", [5, 6])
def test_numbers_of_an_endpoint_are_whole_and_named(app: App, place: int, value: str) -> None:
    parts = ['"ab"', "null", "null", "null", '"pure"', "0", "2"]
    parts[place] = value
    begun = app.post("call/generate", f'{{"data": [{", ".join(parts)}]}}'.encode()).json()
    said = app.http.get(f"gradio_api/call/generate/{begun['event_id']}").text
    assert "event: error" in said
    assert ("seed", "max_tokens")[place - 5] + " must be a whole number" in said


@pytest.mark.parametrize("value", ["NaN", "true", "50.5", "1e400", '"50"'])
def test_numbers_of_the_page_are_whole_and_named(app: App, value: str) -> None:
    key = str(uuid.uuid4())
    assert "ok" in app.act("ask", key, prompt="ab")
    whole = json.dumps(app.envelope(data={"action": "open", "key": key, "top_n": "HERE"}))
    answer = app.post("component_server", whole.replace('"HERE"', value).encode())
    error = json.loads(answer.json())["error"]
    assert error["facts"]["parameter"] == "top_n" and error["facts"]["kind"] == "whole"


def test_a_text_that_is_too_long_is_named_and_the_session_stays(app: App) -> None:
    key = str(uuid.uuid4())
    app.act("ask", key, prompt="ab")
    error = app.act("ask", key, prompt="a" * 501)["error"]
    assert (error["code"], error["facts"]) == (
        "limit_prompt_characters",
        {"value": 501, "limit": 500},
    )
    error = app.act("ask", key, prompt="a" * 101)["error"]
    assert (error["code"], error["facts"]) == ("limit_prompt_tokens", {"value": 101, "limit": 100})
    assert app.act("open", key)["ok"]["view"]["prompt"]["text"] == "ab"
    assert "this server allows 500" in app.call("score", ["a" * 501, None, None, None])
    assert "this server allows 100" in app.call("score", ["a" * 101, None, None, None])
    assert "this server allows 100" in app.call("score", [None, None, [1] * 101, None])
    talk = [{"role": "user", "content": "a" * 300}] * 2
    assert "this server allows 500" in app.call("score", [None, talk, None, None])


def test_templates_get_no_data(app: App) -> None:
    """Gradio's templates run what they find in data: the page's value never changes."""
    script = "${Object.assign(window,{pwned:1})} {{constructor}}"
    key = str(uuid.uuid4())
    app.act("ask", key, prompt=script)
    config = app.http.get("config").text
    assert "pwned" not in config and key not in config
    (component,) = app.http.get("config").json()["components"][:1]
    assert "${" not in component["props"]["html_template"]
    assert "{{" not in component["props"]["html_template"]


# others


def test_headers_keep_the_page_to_itself(app: App) -> None:
    for path in ("", "config", "gradio_api/info", "nowhere", "theme.css"):
        headers = app.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_public_limits_are_tighter_and_both_reach_the_page(app: App) -> None:
    shown = json.loads(app.http.get("config").json()["components"][0]["props"]["value"])
    assert shown["limits"]["prompt_characters"] == 500
    for name, value in shown["limits"].items():
        assert getattr(PUBLIC, name) <= getattr(Limits(), name)
        assert value <= getattr(Limits(), name)
