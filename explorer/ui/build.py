"""The Gradio app: one page, four endpoints."""

import json
import os
from functools import partial
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio rebuilds a summary of all events after each one, even with analytics off.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")

import explorer.ui.quick_import  # noqa: F401, I001  (before gradio)
import gradio as gr

from explorer.backends.base import AskerGone, Models, TooBusy
from explorer.ui.actions import Actions
from explorer.ui.api import add_endpoints
from explorer.ui.messages import error_facts
from explorer.ui.page import Page
from explorer.ui.store import SessionStore
from explorer.ui.unread import keep_few_unread
from explorer.ui.workers import Workers

TITLE = "Next-Token Explorer"
MAX_QUEUED = 64  # calls of the endpoints, for which Gradio keeps a line of its own

# `run_history` would store every prompt in the browser, which in a classroom is everybody's.
LAUNCH_OPTIONS: dict[str, Any] = {
    "run_history": False,
    "ssr_mode": False,
    "footer_links": ["api"],
    "max_file_size": "1mb",
}


def build_ui(models: Models) -> gr.Blocks:
    """The app for these models; starts to load the default one."""
    models.request(models.default)
    actions, workers = Actions(models, SessionStore()), Workers()

    def answer(data: Any) -> str:
        # As text: FastAPI would walk through every value of the object before it writes it.
        return json.dumps(actions.act(data), ensure_ascii=False, allow_nan=False)

    async def act(data: Any, request: gr.Request) -> str | None:
        try:
            return await workers.run_for(request, partial(answer, data))
        except TooBusy as error:
            return json.dumps({"error": error_facts(error)})
        except AskerGone:
            return None  # nobody reads it

    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False) as demo:
        Page(models, act)
        add_endpoints(models, workers)
    demo.queue(api_open=False, max_size=MAX_QUEUED)
    keep_few_unread(demo._queue)
    return demo
