"""Calls under way: whoever wants what is being asked for already waits for that answer."""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SharedCalls(Generic[Key, Value]):
    """One call for each key at a time. A failure goes to all who wait, and is then forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Key, Future[Value]] = {}

    def share(
        self,
        keys: Iterable[Key],
        recall: Callable[[Key], Value | None],
        ask: Callable[[list[Key]], Mapping[Key, Value]],
    ) -> dict[Key, Value]:
        """The value of each key: remembered, asked for here, or awaited from another thread.

        `ask` gets the keys that nobody else is asking for; it remembers what it finds.
        """
        found: dict[Key, Value] = {}
        mine: dict[Key, Future[Value]] = {}
        theirs: dict[Key, Future[Value]] = {}
        with self._lock:
            for key in dict.fromkeys(keys):
                known = recall(key)
                if known is not None:
                    found[key] = known
                elif key in self._under_way:
                    theirs[key] = self._under_way[key]
                else:
                    mine[key] = self._under_way[key] = Future()
        if mine:
            found |= self._settle(mine, ask)
        return found | {key: future.result() for key, future in theirs.items()}

    def _settle(
        self, mine: dict[Key, Future[Value]], ask: Callable[[list[Key]], Mapping[Key, Value]]
    ) -> dict[Key, Value]:
        try:
            answers = ask(list(mine))
            given = {key: answers[key] for key in mine}
        except BaseException as error:
            self._done(mine)
            for future in mine.values():
                future.set_exception(error)
            raise
        self._done(mine)
        for key, future in mine.items():
            future.set_result(given[key])
        return given

    def _done(self, mine: Iterable[Key]) -> None:
        with self._lock:
            for key in mine:
                del self._under_way[key]
