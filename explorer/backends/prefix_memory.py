"""What is remembered of prefixes: distributions, scores and KV caches in one budget of bytes."""

import threading
from typing import Any, TypeVar

import numpy as np
from cachetools import LRUCache
from transformers import DynamicCache

from explorer.backends.base import Continuations, ScoredToken, score_from
from explorer.backends.branches import Branches
from explorer.backends.kv_cache import cache_bytes
from explorer.decoding import Distribution

Prefix = tuple[int, ...]
Found = tuple[Prefix, Any]
Value = TypeVar("Value")
Key = tuple[str, str, Prefix]  # kind, model, prefix


class PrefixMemory:
    """One least-recently-used store with a byte budget, shared by all models and users."""

    def __init__(self, budget_bytes: int) -> None:
        self._lock = threading.RLock()
        self._store: LRUCache[Key, Any] = LRUCache(budget_bytes, getsizeof=_size)

    @property
    def used_bytes(self) -> int:
        return int(self._store.currsize)

    def get(self, kind: str, model_id: str, prefix: Prefix) -> Any | None:
        with self._lock:
            return self._store.get((kind, model_id, prefix))

    def put(self, kind: str, model_id: str, prefix: Prefix, value: Any) -> None:
        """Remember, forgetting what was used longest ago; what exceeds the budget is not kept."""
        with self._lock:
            if _size(value) <= self._store.maxsize:
                self._store[kind, model_id, prefix] = value

    def keep_first(self, kind: str, model_id: str, prefix: Prefix, value: Value) -> Value:
        """What is remembered already, else this value."""
        with self._lock:
            known: Value | None = self.get(kind, model_id, prefix)
            if known is None:
                self.put(kind, model_id, prefix, value)
            return value if known is None else known

    def forget(self, kind: str, model_id: str, prefix: Prefix) -> None:
        with self._lock:
            self._store.pop((kind, model_id, prefix), None)

    def scores(self, model_id: str, prefix: Prefix) -> tuple[ScoredToken, ...] | None:
        """Scores of a known beginning and of what followed it, if its distributions are known."""
        following: list[ScoredToken] = []
        for end in range(len(prefix), 0, -1):
            known: tuple[ScoredToken, ...] | None = self.get("scores", model_id, prefix[:end])
            if known is not None:
                return (*known, *reversed(following))
            distribution = self.get("distribution", model_id, prefix[: end - 1])
            if distribution is None:
                return None
            following.append(score_from(distribution, prefix[end - 1]))
        return None

    def forget_model(self, model_id: str) -> None:
        with self._lock:
            for key in [key for key in self._store if key[1] == model_id]:
                del self._store[key]

    def beginnings(self, kind: str, model_id: str, prefix: Prefix) -> list[Found]:
        """All values whose prefix is a beginning of this one, or this one itself."""
        with self._lock:
            return [
                (key[2], value)
                for key, value in self._store.items()
                if key[:2] == (kind, model_id) and key[2] == prefix[: len(key[2])]
            ]

    def longest(self, kind: str, model_id: str, prefix: Prefix) -> tuple[int, Found | None]:
        """The value whose prefix shares the most first ids with this one, and how many."""
        with self._lock:
            for candidate in (prefix, prefix[:-1]):  # the usual case: one more token
                value = self._store.get((kind, model_id, candidate))
                if value is not None:
                    return len(candidate), (candidate, value)
            best, found = 0, None
            for key in self._store:
                # Only a prefix that shares one more than the best so far is worth measuring.
                if key[:2] == (kind, model_id) and key[2][: best + 1] == prefix[: best + 1]:
                    shared = _shared(prefix, key[2])
                    if shared > best:
                        best, found = shared, key
                    if best >= len(prefix) - 1:
                        break
            if found is None:
                return 0, None
            return best, (found[2], self._store[found])


def _shared(one: Prefix, other: Prefix) -> int:
    """How many first ids two prefixes have in common."""
    length = min(len(one), len(other))
    differs = np.asarray(one[:length]) != np.asarray(other[:length])
    return int(differs.argmax()) if differs.any() else length


def _size(value: Any) -> int:
    if isinstance(value, Distribution):
        return value.nbytes
    if isinstance(value, DynamicCache):
        return cache_bytes(value)
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Branches):
        return cache_bytes(value.cache)
    if isinstance(value, Continuations):
        return 200 + 16 * len(value.token_ids)
    if isinstance(value, tuple):
        return 200 + 8 * len(value) + (160 if value and isinstance(value[-1], ScoredToken) else 0)
    raise TypeError(f"can't tell the size of a {type(value).__name__}")
