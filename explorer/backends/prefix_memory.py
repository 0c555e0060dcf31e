"""What is remembered of prefixes: distributions, scores and KV caches in one budget of bytes.

Rule 1: nothing stored here is ever changed in place. transformers' dynamic layers grow by
`torch.cat`, which makes new tensors, so a fork shares its tensors with what it came from.
Rule 2: a cache of any other kind is never reused. A full pass is slow; a wrong answer is wrong.
"""

import copy
import threading
from typing import Any

import numpy as np
from cachetools import LRUCache
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from explorer.backends.base import ScoredToken
from explorer.decoding import Distribution

Prefix = tuple[int, ...]
Found = tuple[Prefix, Any]
Key = tuple[str, str, Prefix]  # kind, model, prefix


def new_cache(config: PreTrainedConfig) -> DynamicCache | None:
    """An empty KV cache whose forks are exact; `None` if this model's cache has none.

    A sliding-window layer normally drops what has left its window, and then can't go back.
    Told to record the past, it keeps every token and still shows attention only the window.
    """
    cache = DynamicCache(config=config)
    if not cache.layers or not all(_can_fork(layer) for layer in cache.layers):
        return None
    for layer in cache.layers:
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.activate_past_recording()
    return cache


def _can_fork(layer: object) -> bool:
    return type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)


def fork(cache: DynamicCache, length: int) -> DynamicCache:
    """A cache of the first `length` tokens; the original stays as it was and no data is copied."""
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in forked.layers:
        if layer.is_initialized:
            layer.keys = layer.keys[..., :length, :]
            layer.values = layer.values[..., :length, :]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = length
    return forked


def cache_bytes(cache: DynamicCache) -> int:
    return sum(
        tensor.numel() * tensor.element_size()
        for layer in cache.layers
        if layer.is_initialized
        for tensor in (layer.keys, layer.values)
    )


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

    def forget(self, kind: str, model_id: str, prefix: Prefix) -> None:
        with self._lock:
            self._store.pop((kind, model_id, prefix), None)

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
        # The candidates and their probabilities are worked out later and kept with it.
        return 2 * (value.token_ids.nbytes + value.logits.nbytes)
    if isinstance(value, DynamicCache):
        return cache_bytes(value)
    if isinstance(value, tuple):
        return 200 + 8 * len(value) + (160 if value and isinstance(value[-1], ScoredToken) else 0)
    raise TypeError(f"can't tell the size of a {type(value).__name__}")
