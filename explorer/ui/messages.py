"""Errors as data: a code and its facts, which the page says in the reader's language."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from explorer.backends.base import BackendError
from explorer.decoding.parameters import ParameterError
from explorer.session import StateRefused

ASSETS = Path(__file__).parents[2] / "assets"
LANGUAGES = ("en", "ja")


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of the interface in one language."""
    found: dict[str, str] = json.loads((ASSETS / "texts" / f"{language}.json").read_text("utf-8"))
    return found


class Refused(Exception):
    """A request that can't be answered as the session stands."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(texts("en")[f"error_{code}"].format(**facts))
        self.code = code
        self.facts = facts


class OverLimit(Refused):
    """More than this server allows; what is allowed is named."""

    def __init__(self, name: str, value: int, limit: int) -> None:
        super().__init__(f"limit_{name}", value=value, limit=limit)


def error_facts(
    error: BackendError | ParameterError | Refused | StateRefused,
) -> dict[str, Any]:
    """What the page needs to say an error: its code, its values, and it all in English."""
    if isinstance(error, ParameterError):
        facts: dict[str, object] = {
            "parameter": error.parameter,
            "value": repr(error.value),
            "allowed": error.allowed,
            **error.limits,
        }
        return {"code": "parameter", "facts": facts, "message": str(error)}
    plain = {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in error.facts.items()
    }
    return {"code": error.code, "facts": plain, "message": str(error)}


def said_in(language: str, error: dict[str, Any]) -> str:
    """An error's facts in words, where no script of the page says them."""
    known, facts = texts(language), error["facts"]
    if "kind" in facts:
        facts = {**facts, "allowed": known[f"allowed_{facts['kind']}"].format(**facts)}
    return known[f"error_{error['code']}"].format(**facts)
