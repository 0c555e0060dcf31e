"""The pages of health and metrics, served before anything that asks for a password."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import make_asgi_app
from starlette.middleware import Middleware

from explorer import __version__
from explorer.serving.metrics import Metrics
from explorer.ui import Explorer, Standing

HEALTH, METRICS = "/health", "/metrics"


class Pages:
    """An ASGI application around another one, with some pages of its own."""

    def __init__(self, app: Any, pages: Mapping[str, Any]) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", "")).rstrip("/")
        page = self._pages.get(path) if scope["type"] == "http" else None
        await (page or self._app)(scope, receive, send)


def health_page(standing: Callable[[], Standing]) -> Any:
    """Whether the default model can be used: 200, or 503 until then; and why, as JSON."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        now = standing()
        body = json.dumps(health(now)).encode()
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        status = 200 if now.ready else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return page


def health(now: Standing) -> dict[str, Any]:
    """A model that a user named, a folder say, is counted, not named."""
    named = [name for name in now.usage.models if name in now.offered]
    return {
        "ready": now.ready,
        "version": __version__,
        "default_model": now.phase,
        "models": named,
        "other_models": len(now.usage.models) - len(named),
        "queue": {
            "requests": now.requests,
            "calls": now.calls,
            "model_waiting": now.usage.waiting,
        },
    }


def add_pages(demo: Explorer, metrics: Metrics | None) -> None:
    """Before the app is launched."""
    pages = {HEALTH: health_page(demo.standing)}
    if metrics is not None:
        metrics.read(demo.standing, demo.names)
        pages[METRICS] = make_asgi_app(metrics.registry)
    demo.middleware.insert(0, Middleware(Pages, pages=pages))
