"""Health and metrics of the real app over HTTP, and that neither says what anybody typed."""

import json
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from prometheus_client.parser import text_string_to_metric_families

from explorer import __version__
from explorer.backends import ScriptedBackend
from explorer.backends.base import Usage
from explorer.serving import Metrics, add_pages
from explorer.serving.pages import health
from explorer.settings import Hosting
from explorer.ui import Standing, build_ui
from tests.ui.asking import FakeModels
from tests.ui.serving import BYTES

SECRET = "a secret that somebody typed"


class App:
    """The started app with its pages, and models that can be away."""

    def __init__(self, hosting: Hosting, metrics: Metrics | None) -> None:
        self.models = FakeModels(small=ScriptedBackend(BYTES, context_length=500, model_id="b"))
        self.demo = build_ui(self.models, hosting, metrics)
        add_pages(self.demo, metrics)
        self.demo.launch(prevent_thread_lock=True, quiet=True)
        self.url = str(self.demo.local_url)
        self.http = httpx.Client(base_url=self.url, timeout=20)

    def act(self, action: Any, key: str, **more: Any) -> dict[str, Any]:
        page = next(
            part
            for part in self.demo.config["components"]
            if part["props"].get("elem_id") == "explorer"
        )
        body = {
            "session_hash": key,
            "component_id": page["id"],
            "fn_name": "act",
            "data": {"action": action, "key": key, **more},
        }
        answer = self.http.post("gradio_api/component_server", json=body).raise_for_status()
        found: dict[str, Any] = json.loads(answer.json())
        return found

    def metrics(self) -> dict[tuple[str, str], float]:
        """By name and the value of the only label, if there is one."""
        text = self.http.get("metrics").raise_for_status().text
        return {
            (sample.name, next(iter(sample.labels.values()), "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    started = App(Hosting(), Metrics())
    yield started
    started.demo.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[App]:
    started = App(Hosting(password="open sesame", metrics=False), None)
    yield started
    started.demo.close()


def test_health_is_503_until_the_default_model_is_there(app: App) -> None:
    app.models.phase = "loading"
    try:
        answer = app.http.get("health")
        assert answer.status_code == 503
        assert (answer.json()["ready"], answer.json()["default_model"]) == (False, "loading")
        app.models.phase = "failed"
        assert app.http.get("health").status_code == 503
    finally:
        app.models.phase = "ready"
    answer = app.http.get("health")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "ready": True,
        "version": __version__,
        "default_model": "ready",
        "models": ["small"],
        "other_models": 0,
        "queue": {"requests": 0, "calls": 0, "model_waiting": 0},
    }


def test_health_names_no_model_that_a_user_named() -> None:
    usage = Usage(("small", "/home/somebody/secret"))
    said = health(Standing("small", "ready", ("small",), usage, 0, 0, 0))
    assert (said["models"], said["other_models"]) == (["small"], 1)


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == __version__


def test_metrics_count_what_happened(app: App) -> None:
    key, before = str(uuid.uuid4()), app.metrics()
    app.act("ask", key, prompt="a")
    app.act("step", key)
    app.act("sample", key)
    app.act("adopt", key, token_ids=[65, 66, 67])
    app.act("pick", key, token_id=-1)
    app.act("roll", key, which="last")
    client = Client(app.url, verbose=False)
    client.predict(prompt="a", max_tokens=4, api_name="/generate")
    with pytest.raises(AppError):
        client.predict(prompt="a", max_tokens=0, api_name="/generate")
    after = app.metrics()

    def more(name: str, label: str = "") -> float:
        return after[name, label] - before.get((name, label), 0)

    assert more("explorer_request_seconds_count", "sample") == 1
    assert more("explorer_request_seconds_count", "generate") == 2
    assert more("explorer_errors_total", "parameter") == 2
    assert more("explorer_tokens_added_total") == 1 + 1 + 3 + 4
    assert more("explorer_sessions") == 1
    assert after["explorer_ready", ""] == after["explorer_models", ""] == 1
    assert after["process_resident_memory_bytes", ""] > 10_000_000
    assert after["explorer_threads", ""] > 1


def test_labels_are_names_that_the_code_holds(app: App) -> None:
    """However many things clients ask for: a label each would fill the memory."""
    key = str(uuid.uuid4())
    app.act("ask", key, prompt=SECRET)
    for number in range(20):
        app.act(f"no such action {number}", key)
        app.act("ask", key, prompt=SECRET, model=f"no such model {number}")
    for action in (None, 3, [], {"a": 1}, "\0"):
        app.act(action, key)
    said = app.http.get("metrics").text + app.http.get("health").text
    assert "no such" not in said and "secret" not in said and key not in said
    requests = {label for name, label in app.metrics() if name == "explorer_request_seconds_count"}
    assert requests <= app.demo.names | {"other"} and "other" in requests


def test_without_metrics_there_is_no_page_of_them(guarded: App) -> None:
    assert guarded.http.get("metrics").status_code == 404
    assert guarded.http.get("health").status_code == 200, "a probe knows no password"
    assert guarded.http.get("config").status_code == 401
