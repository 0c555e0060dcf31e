"""What a client gives to be loaded: a session file's text, or a link's."""

import json
from collections.abc import Mapping
from typing import Any

from explorer.decoding.parameters import ParameterError
from explorer.session import StateRefused, from_link
from explorer.settings import Limits
from explorer.ui import arguments
from explorer.ui.messages import OverLimit


def loaded_state(data: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The state that a request brings, with a model's name in it.

    All else in it is checked when it becomes a session. `StateRefused` says what is wrong.
    """
    text, link = data.get("file"), data.get("link")
    if (text is None) == (link is None):
        raise ParameterError("file, link", None, "given by exactly one of the two")
    name, value, most = (
        ("file", text, limits.file_characters)
        if link is None
        else ("link", link, limits.link_characters)
    )
    if not isinstance(value, str):
        raise ParameterError(name, arguments.short(value), "a text")
    if len(value) > most:
        raise OverLimit(f"{name}_characters", len(value), most)
    # Packed, a link may hold far more than its length.
    state = _parsed(value) if link is None else from_link(value, 4 * limits.file_characters)
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
