"""What a request may ask for here, checked before anything is computed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from explorer.decoding.parameters import ParameterError, check_count
from explorer.session import Session
from explorer.settings import Limits
from explorer.ui import arguments
from explorer.ui.messages import OverLimit

# action -> field of its request -> the limit's name
BOUNDED = {
    "ahead": {"width": "beams", "depth": "ahead_tokens", "most_nodes": "ahead_nodes"},
    "roll": {"count": "rolls"},
    "characters": {"passes": "followed_passes"},
}


def check_request(limits: Limits, action: Any, data: Mapping[str, Any]) -> None:
    """Numbers beyond what is allowed here; all else is checked by whoever takes it."""
    for field, name in BOUNDED.get(action, {}).items() if isinstance(action, str) else ():
        value, most = data.get(field), getattr(limits, name)
        if isinstance(value, int | float) and value > most:
            raise too_large(field, value, most)
    check_chain(limits, data.get("chain"))
    words = data.get("words")
    if isinstance(words, list) and len(words) > limits.pinned_words:
        allowed = f"a list of at most {limits.pinned_words} texts"
        raise ParameterError("words", f"{len(words)} texts", allowed)


def too_large(field: str, value: Any, most: int) -> ParameterError:
    try:
        check_count(field, value, 1, most)
    except ParameterError as error:
        return error.with_value(arguments.short(value))
    raise AssertionError(f"{value!r} is not above {most}")


def check_chain(limits: Limits, chain: Any) -> None:
    """Each token keeps the chain that it was chosen under."""
    if isinstance(chain, list):
        try:
            length = len(json.dumps(chain))
        except (RecursionError, ValueError):  # refused where it is read
            return
        if length > limits.chain_characters:
            raise OverLimit("chain_characters", length, limits.chain_characters)


def check_prompt(limits: Limits, text: Any) -> None:
    """Before it becomes tokens, which takes long for a long text."""
    if isinstance(text, str) and len(text) > limits.prompt_characters:
        raise OverLimit("prompt_characters", len(text), limits.prompt_characters)


def check_prefix(limits: Limits, length: int) -> None:
    if length > limits.prompt_tokens:
        raise OverLimit("prompt_tokens", length, limits.prompt_tokens)


def check_state(limits: Limits, state: Mapping[str, Any]) -> None:
    """A session that comes in; what has not even this shape is refused when it is read."""
    match state:
        case {"prompt": {"token_ids": list(token_ids)}}:
            check_prefix(limits, len(token_ids))
    match state:
        case {"tree": {"nodes": list(nodes)}} if len(nodes) > limits.tree_nodes:
            raise OverLimit("tree_nodes", len(nodes), limits.tree_nodes)


def kept(limits: Limits, before: Session | None, after: Session) -> Session:
    """The session after an action, unless that made it too big; old undo steps are dropped."""
    nodes = len(after.now.tree.nodes)
    if nodes > limits.tree_nodes and (before is None or nodes > len(before.now.tree.nodes)):
        raise OverLimit("tree_nodes", nodes, limits.tree_nodes)
    if max(len(after.past), len(after.future)) <= limits.undo_steps:
        return after
    return replace(
        after, past=after.past[-limits.undo_steps :], future=after.future[: limits.undo_steps]
    )
