"""Checks on what a client sent: Gradio enforces no types, ranges or lengths."""

from collections.abc import Mapping
from typing import Any

from explorer.decoding import Chain, resolve_chain
from explorer.decoding.parameters import ParameterError, check_count
from explorer.decoding.randomness import MAX_SEED

MAX_TEXT = 2_000_000  # characters; far more than any context holds
MAX_ROLE = 32
MAX_SHOWN = 200  # characters of a wrong value that a message repeats


def text_argument(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ParameterError(name, short(value), "a text")
    if len(value) > MAX_TEXT:
        raise ParameterError(
            name, f"{len(value)} characters", f"a text of at most {MAX_TEXT} characters"
        )
    return value


def model_argument(value: Any, default: str) -> str:
    """A model's name; `None` is the default model."""
    if value is None:
        return default
    name = text_argument("model", value)
    if short(name) != name:  # too long, or no text that an answer could repeat
        raise ParameterError("model", short(name), "a model's name")
    return name


def flag_argument(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ParameterError(name, short(value), "true or false")
    return value


def count_argument(name: str, value: Any, low: int, high: int) -> int:
    try:
        check_count(name, value, low, high)
    except ParameterError as error:
        raise error.with_value(short(value)) from error
    assert isinstance(value, int)
    return value


def plain(name: str, value: Any) -> Any:
    """A value that whoever takes it checks: fit to be shown in the error, if there is one."""
    if not isinstance(value, int | float):
        raise ParameterError(name, short(value), "a number")
    return short(value)


def seed_argument(value: Any) -> int:
    return count_argument("seed", value, 0, MAX_SEED)


def chain_argument(value: Any) -> Chain:
    try:
        return resolve_chain(value)
    except ParameterError as error:
        raise error.with_value(short(error.value)) from error


def ids_argument(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ParameterError(name, short(value), "a list of token ids")
    for position, token_id in enumerate(value):
        if isinstance(token_id, bool) or not isinstance(token_id, int):
            raise ParameterError(f"{name}[{position}]", short(token_id), "a whole number")
    return tuple(value)


def messages_argument(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise ParameterError("messages", short(value), "a list of at least one message")
    for position, message in enumerate(value):
        where = f"messages[{position}]"
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise ParameterError(where, short(message), 'an object {"role": …, "content": …}')
        text_argument(f"{where}.content", message["content"])
        if not isinstance(message["role"], str) or not 0 < len(message["role"]) <= MAX_ROLE:
            raise ParameterError(f"{where}.role", short(message["role"]), "a role such as 'user'")
    return [dict(message) for message in value]


def short(value: Any) -> Any:
    """A value small enough to stand in a message, and free of lone surrogates."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**30 else "a huge number"
    said = value if isinstance(value, str) else repr(value)[: MAX_SHOWN + 1]
    said = said.encode("utf-8", "backslashreplace").decode()
    return said if len(said) <= MAX_SHOWN else said[:MAX_SHOWN] + "…"
