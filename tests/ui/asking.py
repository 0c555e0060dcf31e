"""What the tests of the page's requests share: models that are there, and how to read an answer."""

import json
from collections.abc import Callable
from typing import Any

from explorer.backends.base import (
    Backend,
    LoadPhase,
    LoadStatus,
    ModelChoice,
    ModelUnavailable,
    Usage,
)
from explorer.backends.first_tables import FirstTable, table_of
from explorer.session import Session
from explorer.ui.store import SessionStore

KEY = "123e4567-e89b-12d3-a456-426614174000"
OTHER_KEY = "0" * 36
A, B, HALF, REST, END = range(5)
Act = Callable[..., dict[str, Any]]


class FakeModels:
    """Models that are there at once, or on their way for as long as a test wants."""

    default = "small"
    public = False

    def __init__(self, **backends: Any) -> None:
        self.backends = backends
        self.phase: LoadPhase = "ready"
        self.first_tables: dict[str, Any] = {}
        self.kept: list[tuple[str, str, bool]] = []

    def choices(self) -> tuple[ModelChoice, ...]:
        return (ModelChoice("small", "Small", "1M", ("en",), "MIT", "https://example.org", False),)

    def request(self, name: str) -> LoadStatus:
        if name not in self.backends:
            raise ModelUnavailable("unknown", f"there is no model {name!r}", model=name)
        return self.status(name)

    def usage(self) -> Usage:
        return Usage(tuple(self.backends))

    def status(self, name: str) -> LoadStatus:
        if self.phase == "failed":
            return LoadStatus("failed", error=ModelUnavailable("damaged", "broken", file="f"))
        return LoadStatus(self.phase, 5, 10)

    def early(self, name: str) -> Backend | None:
        return self.first_tables.get(name)

    def keep_first_table(self, name: str, text: str, chat: bool) -> None:
        self.kept.append((name, text, chat))

    def page_answers(self) -> None:
        return

    def get(self, name: str) -> Backend:
        self.request(name)
        return self.backends[name]


def view(answer: dict[str, Any]) -> dict[str, Any]:
    json.dumps(answer, allow_nan=False)  # as JSON has it
    return answer["ok"]["view"]


def token_ids(answer: dict[str, Any]) -> list[int]:
    return [part["token_id"] for chip in view(answer)["chips"] for part in chip["parts"]]


def session_of(store: SessionStore) -> Session | None:
    return store.slot(KEY).session


def first_table(backend: Any, text: str, chat: bool = False) -> FirstTable:
    """What a start would keep of a scripted model, as the next one finds it."""
    backend.tokens = lambda: map(backend.token, range(backend.info.vocab_size))
    return FirstTable(*table_of(backend, text, chat))
