"""What stands before every route of Gradio's: who may come in, where to, and with how much.

What the page asks for is answered right here. The way through FastAPI's and Gradio's routing
would take twice as long as the answer itself, and in one interpreter everybody waits for it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson
from gradio.context import LocalContext
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request

from explorer.decoding.parameters import ParameterError
from explorer.settings import Hosting
from explorer.ui import arguments
from explorer.ui.clients import client_of
from explorer.ui.envelopes import PAGE, Parameters, check_envelope
from explorer.ui.failures import reported
from explorer.ui.messages import OverLimit, Refused, error_facts, said_in
from explorer.ui.results import Results

BODY_S = 30  # for the whole body of a request to arrive
MAX_PATH = 500  # characters

API = "/gradio_api"
# Gradio has many more routes, for uploads, files, proxies, streams, monitoring and editing.
# What is needed to log in:
OPEN = {
    *("/", "/login", "/logout", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"),
    *(f"{API}/{name}" for name in ("startup-events", "login_check", "app_id", "user", "theme.css")),
}
OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/pwa_icon/")
# What the page and scripts need then:
ROUTES = {
    "/config",
    *(f"{API}/{name}" for name in ("info", "openapi.json", "component_server", "cancel", "reset")),
    *(f"{API}/queue/{name}" for name in ("join", "data", "status")),
}
FOLDERS = (f"{API}/heartbeat/", f"{API}/call/")
JOINS = (f"{API}/queue/join", f"{API}/call/")
CANCEL = f"{API}/cancel"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")  # whence Gradio asks itself whether it is there
ASKED = "explorer.asked"  # in a request's scope: what the page asks for

Scope = MutableMapping[str, Any]
Act = Callable[[Any, Request], Awaitable[str | None]]
STATUS = {"too_many_yours": 429, "limit_body_bytes": 413, "no_page": 404, "not_logged_in": 401}


class Gate:
    """An ASGI application around Gradio's."""

    def __init__(
        self,
        app: Any,
        *,
        hosting: Hosting,
        results: Results,
        endpoints: Parameters,
        component_id: int,
        act: Act,
    ) -> None:
        self._act = act
        self._inside: Any = TrustedHostMiddleware(
            self._answer_or_pass_on,
            allowed_hosts=[*hosting.hosts, *LOOPBACK] if hosting.hosts else ["*"],
            www_redirect=False,
        )
        self._app, self._hosting, self._results = app, hosting, results
        self._endpoints, self._component_id = endpoints, component_id
        self._open: Counter[str] = Counter()  # requests, by client
        self._headers = _headers(hosting)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_on(message: dict[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        client = client_of(scope, self._hosting.proxies)
        self._open[client] += 1
        try:
            receive = await self._let_in(scope, receive, client)
            await self._inside(scope, receive, send_on)
        except (ParameterError, Refused) as error:
            await _answer(error, scope, send_on)
        except Exception as error:
            # The last place before the server's own trace: named for the client, and logged.
            refused = reported(error, with_prompts=self._hosting.log_prompts)
            if begun:
                raise
            await _answer(refused, scope, send_on)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    async def _let_in(self, scope: Scope, receive: Any, client: str) -> Any:
        """Checks a request; what its application receives instead of what was read here."""
        if self._open[client] > self._hosting.limits.connections:
            raise Refused(
                "too_many_yours",
                held=self._open[client] - 1,
                limit=self._hosting.limits.connections,
            )
        path = _route_of(scope)
        if not _is_route(path):
            raise Refused("no_page", path=path[:MAX_PATH])
        if self._hosting.password and not _is_open(path) and not _is_logged_in(scope):
            raise Refused("not_logged_in")
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return receive
        body = await self._body(scope, receive)
        call = check_envelope(path, body, self._endpoints, self._component_id)
        queue = scope["app"].get_blocks()._queue
        if path.startswith(JOINS):
            self._results.check(queue, client)
        elif path == CANCEL:
            _check_owner(call, queue)
        elif path == PAGE and scope["method"] == "POST":
            scope[ASKED] = call["data"]
        return _replayed(body, receive)

    async def _answer_or_pass_on(self, scope: Scope, receive: Any, send: Any) -> None:
        if ASKED not in scope:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        LocalContext.request.set(request)  # as Gradio does, for who asks for a GPU
        await _send(200, orjson.dumps(await self._act(scope[ASKED], request)), send)

    async def _body(self, scope: Scope, receive: Any) -> bytes:
        """All of it: Gradio would read it without an end."""
        most = self._hosting.limits.body_bytes
        declared = next(
            (value for name, value in scope["headers"] if name == b"content-length"), b""
        )
        if declared.isdigit() and int(declared[:20]) > most:
            raise OverLimit("body_bytes", int(declared[:20]), most)
        parts, size, more = [], 0, True
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise OverLimit("body_bytes", size, most)
                more = message.get("more_body", False)
        return b"".join(parts)


def _replayed(body: bytes, receive: Any) -> Any:
    """The body as one message, then what comes after it: that the client has left."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Any:
        return messages.pop() if messages else await receive()

    return next_message


def _check_owner(call: Mapping[str, Any], queue: Any) -> None:
    """Gradio takes an event out of its queue whatever session asks for that."""
    event = queue.event_ids_to_events.get(call["event_id"])
    if event is not None and event.session_hash != call["session_hash"]:
        raise ParameterError("session_hash", arguments.short(call["session_hash"]), "the event's")


def _route_of(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.rstrip("/") or "/"


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def _is_route(path: str) -> bool:
    return len(path) <= MAX_PATH and (_is_open(path) or path in ROUTES or path.startswith(FOLDERS))


def _is_logged_in(scope: Scope) -> bool:
    """By the cookie that Gradio's login gives; some of its routes never ask for it."""
    app, cookies = scope["app"], HTTPConnection(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)


def _headers(hosting: Hosting) -> list[tuple[bytes, bytes]]:
    """Nothing from elsewhere, nothing sent elsewhere, and who may show the page in a frame.

    Gradio runs a component's script with `new Function`, and has scripts and styles inline.
    """
    policy = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": " ".join(hosting.frame_ancestors),
    }
    said = {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
    }
    return [(name.encode(), value.encode()) for name, value in said.items()]


async def _answer(error: ParameterError | Refused, scope: Scope, send: Any) -> None:
    facts = error_facts(error)
    default = 422 if isinstance(error, ParameterError) else 500
    wanted = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    language = "ja" if wanted.strip().lower().startswith(b"ja") else "en"
    body = json.dumps({"detail": said_in(language, facts), **facts}, ensure_ascii=False)
    status = STATUS.get(facts["code"], default)
    await _send(status, body.encode("utf-8", "backslashreplace"), send)


async def _send(status: int, body: bytes, send: Any) -> None:
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
