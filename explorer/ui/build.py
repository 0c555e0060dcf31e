"""The Gradio app: one page, four endpoints, and the gate before them."""

import hmac
import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio rebuilds a summary of all events after each one, even with analytics off.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")

import explorer.ui.quick_import  # noqa: F401, I001  (before gradio)
import gradio as gr
import orjson
from starlette.middleware import Middleware
from starlette.requests import Request

from explorer.backends.base import AskerGone, Models, TooBusy
from explorer.settings import Hosting
from explorer.ui.actions import Actions
from explorer.ui.api import add_endpoints
from explorer.ui.clients import client_of
from explorer.ui.failures import reported
from explorer.ui.first_request import FirstRequest
from explorer.ui.gate import Gate
from explorer.ui.messages import LANGUAGES, Refused, error_facts, texts
from explorer.ui.page import Page
from explorer.ui.results import Results
from explorer.ui.store import SessionStore
from explorer.ui.unread import keep_few_unread
from explorer.ui.watching import Standing, Unwatched, Watch, standing_of, tell
from explorer.ui.workers import Workers

TITLE = "Next-Token Explorer"
MAX_QUEUED = 64  # calls of the endpoints, for which Gradio keeps a line of its own
# Gradio looks a thousand times a second whether its queue has a call, and a hundred times whether
# one got on, but less often on Windows. Each look takes the interpreter from a forward pass or from
# an answer, and an idle server kept a tenth of a core busy.
QUEUE_LOOKS_S = 0.02
GRADIO_SESSIONS = 100  # nothing is kept in them, and whoever calls makes one


# `run_history` would store every prompt in the browser, which in a classroom is everybody's.
LAUNCH_OPTIONS: dict[str, Any] = {
    "run_history": False,
    "ssr_mode": False,
    "footer_links": ["api"],
    "max_file_size": "1mb",
    "enable_monitoring": False,
    "state_session_capacity": GRADIO_SESSIONS,
    "css": "footer :is(a, button) { color: var(--body-text-color) !important }",  # else too faint
}


class Explorer(gr.Blocks):
    """The app; however it is launched, the gate stands before it."""

    def __init__(self, hosting: Hosting) -> None:
        super().__init__(title=TITLE, fill_width=True, analytics_enabled=False)
        self.hosting = hosting
        self.middleware: list[Middleware] = []
        self.names: frozenset[str] = frozenset()  # of all requests
        self.standing: Callable[[], Standing]

    def launch(self, **options: Any) -> Any:
        password = self.hosting.password
        guarded = {
            **LAUNCH_OPTIONS,
            "app_kwargs": {"middleware": self.middleware},
            "auth": _asks_for(password) if password else None,
            "auth_message": " / ".join(texts(language)["login"] for language in LANGUAGES),
        }
        return super().launch(**guarded | options)


def _asks_for(password: str) -> Callable[[str, str], bool]:
    """Any name will do: there is one password for all."""
    return lambda _, given: hmac.compare_digest(given.encode(), password.encode())


def build_ui(
    models: Models, hosting: Hosting | None = None, watch: Watch | None = None
) -> Explorer:
    """The app for these models; asks for the default one, which loads once the page answers."""
    models.request(models.default)
    hosting = hosting or Hosting()
    limits = hosting.limits
    watch = watch or Unwatched()
    sessions = SessionStore(limits=limits, time_to_live_s=hosting.session_hours * 3600)
    actions = Actions(models, sessions, limits)
    workers = Workers(of_one_client=limits.requests_at_once)
    results = Results(limits.requests_at_once, hosting.proxies)

    def answer(data: Any, client: str) -> str:
        began = time.perf_counter()
        found = actions.act(data, client)
        # As text: FastAPI would walk through every value of the object before it writes it.
        said = orjson.dumps(found).decode()
        tell(watch, data, began, found)
        return said

    async def act(data: Any, request: Request) -> str | None:
        client = client_of(request.scope, hosting.proxies)
        try:
            return await workers.run_for(request, partial(answer, data, client), client)
        except (TooBusy, Refused) as error:
            refused = {"error": error_facts(error)}
            tell(watch, data, time.perf_counter(), refused)
            return json.dumps(refused)
        except AskerGone:
            return None  # nobody reads it
        except Exception as error:
            unexpected = reported(error, with_prompts=hosting.log_prompts)
            refused = {"error": error_facts(unexpected)}
            tell(watch, data, time.perf_counter(), refused)
            return json.dumps(refused)

    with Explorer(hosting) as demo:
        page = Page(models, limits, act)
        endpoints = add_endpoints(models, workers, results, hosting, watch)
    demo.middleware += [
        Middleware(FirstRequest, tell=models.page_answers),
        Middleware(
            Gate,
            hosting=hosting,
            results=results,
            endpoints=endpoints,
            component_id=page._id,
            act=act,
        ),
    ]
    demo.queue(api_open=False, max_size=MAX_QUEUED)
    keep_few_unread(demo._queue)
    demo._queue.sleep_when_free = QUEUE_LOOKS_S
    demo._queue.progress_update_sleep_when_free = QUEUE_LOOKS_S
    demo.names = actions.names | endpoints.keys()
    demo.standing = lambda: standing_of(
        models, requests=len(workers), calls=len(demo._queue), sessions=len(sessions)
    )
    return demo
