"""The page: one custom component with a static template, drawn from JSON by its own script.

Rule: no text of a token or a user ever enters a template. Gradio's templates run what they
find in data; the script only ever writes `textContent`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import gradio as gr

from explorer.backends.base import Models
from explorer.decoding import PRESETS, chain_to_json
from explorer.session import MAX_LINK
from explorer.settings import Limits
from explorer.ui.messages import ASSETS, LANGUAGES, texts
from explorer.ui.opening import examples, opening
from explorer.ui.payload import choice_payload

SCRIPTS = (
    "format.js",
    "dom.js",
    "keep.js",
    "transport.js",
    "strip.js",
    "table.js",
    "drawing.js",
    "chart.js",
    "ledger.js",
    "dice.js",
    "cockpit.js",
    "tree.js",
    "score.js",
    "ahead.js",
    "words.js",
    "lens.js",
    "rounding.js",
    "fields.js",
    "rules.js",
    "controls.js",
    "prompt.js",
    "travel.js",
    "keys.js",
    "main.js",
)
STYLES = ("theme.css", "layout.css", "parts.css", "lab.css", "tree.css", "ahead.css")


class Page(gr.HTML):
    """The explorer; `act` answers its requests."""

    def __init__(self, models: Models, limits: Limits, act: Callable[..., Any]) -> None:
        super().__init__(
            # Gradio writes it into its own page, where names of models must not be markup either.
            json.dumps(_setup(models, limits)).replace("<", r"\u003c"),
            html_template=_asset("page.html"),
            css_template="\n".join(_asset(f"css/{name}") for name in STYLES),
            js_on_load="\n".join(_asset(f"js/{name}") for name in SCRIPTS),
            apply_default_css=False,
            elem_id="explorer",
            server_functions=[act],
        )

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}


def _setup(models: Models, limits: Limits) -> dict[str, Any]:
    """What the script needs once: texts, models, examples."""
    return {
        "texts": {language: texts(language) for language in LANGUAGES},
        "models": [choice_payload(choice) for choice in models.choices()],
        "default_model": models.default,
        "public": models.public,
        "max_link": MAX_LINK,
        "limits": asdict(limits),
        "examples": examples(),
        "opening": opening(models.default),
        "rules": {
            **json.loads(_asset("rules.json")),
            "presets": {name: chain_to_json(chain) for name, chain in PRESETS.items()},
        },
    }


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")
