"""The Gradio app: one page, four endpoints."""

import os
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio rebuilds a summary of all events after each one, even with analytics off.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")

import explorer.ui.quick_import  # noqa: F401, I001  (before gradio)
import gradio as gr

from explorer.backends.base import Models
from explorer.ui.actions import Actions
from explorer.ui.api import add_endpoints
from explorer.ui.page import Page
from explorer.ui.store import SessionStore

TITLE = "Next-Token Explorer"

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
    actions = Actions(models, SessionStore())

    def act(data: Any) -> Any:  # Gradio marks the function, which a method does not allow
        return actions.act(data)

    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False) as demo:
        Page(models, act)
        add_endpoints(models)
    demo.queue(api_open=False, max_size=64)
    return demo
