"""What a client gives to be loaded: a session file's text, or a link's."""

import json
from collections.abc import Mapping
from typing import Any

from explorer.decoding.parameters import ParameterError
from explorer.session import StateRefused, from_link
from explorer.ui import arguments

MAX_FILE = 5_000_000  # characters
MAX_LOADED_LINK = 200_000  # characters; what the page makes is far shorter


def loaded_state(data: Mapping[str, Any]) -> dict[str, Any]:
    """The state that a request brings, with a model's name in it.

    All else in it is checked when it becomes a session. `StateRefused` says what is wrong.
    """
    text, link = data.get("file"), data.get("link")
    if (text is None) == (link is None):
        raise ParameterError("file, link", None, "given by exactly one of the two")
    name, value, most = (
        ("file", text, MAX_FILE) if link is None else ("link", link, MAX_LOADED_LINK)
    )
    if not isinstance(value, str):
        raise ParameterError(name, arguments.short(value), "a text")
    if len(value) > most:
        raise StateRefused("state_too_big", f"{len(value)} characters, {most} at most")
    state = _parsed(value) if link is None else from_link(value)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise StateRefused("state_damaged", "no session: it names no model")
    model = state["model"]
    try:
        model["name"] = arguments.model_argument(model.get("name", model.get("model_id")), "")
    except ParameterError as error:
        raise StateRefused("state_damaged", str(error)) from error
    return state


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise StateRefused(
            "state_damaged", f"this is no JSON: {arguments.short(str(error))}"
        ) from error
