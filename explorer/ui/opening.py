"""The example prompts, and the one that the page asks by itself when it is opened."""

import json
from functools import cache
from typing import Any

from explorer.session import Prompt
from explorer.ui.messages import ASSETS

Example = dict[str, Any]


@cache
def examples() -> list[Example]:
    found: list[Example] = json.loads((ASSETS / "examples.json").read_text("utf-8"))
    return found


def opening(model: str) -> Example:
    """What the page begins with where this model is the default one: its first example."""
    first, *others = examples()
    own = (example for example in (first, *others) if example["model"] == model)
    return next(own, {**first, "model": model})


def opening_prompt(model: str) -> Prompt:
    example = opening(model)
    return Prompt(example["prompt"], example["chat"])
