"""transformers' KV caches, made to grow in place, and cut back and continued without a copy.

Rule 1: what a cache shows never changes. A layer's keys and values lie in a `Room` with places
to spare, which any number of forks share. A place is written once: a cache that ends where the
taken places end goes on in its room; any other has been overtaken, or cut back, and first
copies what it shows into a room of its own.
Rule 2: a cache of any other kind is never reused. A full pass is slow; a wrong answer is wrong.

No lock is needed. Only a forward pass takes places, and all of them run on one thread
(`model_thread`). Other threads fork, count and drop caches: they look at places that were
written before the cache was theirs, and a room lives as long as any cache in it.
"""

import copy
from typing import Any, Self

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

SPARE = 32  # places at least, when a room is made; or a quarter of what it must hold


class Room:
    """Places for the keys and values of one layer, the first of them taken."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, needed: int) -> None:
        self.places = needed + max(SPARE, needed // 4)
        self.keys, self.values = (
            old.new_empty((*old.shape[:-2], self.places, old.shape[-1])) for old in (keys, values)
        )
        self.nbytes = self.keys.nbytes + self.values.nbytes
        self.taken = keys.shape[-2]
        self.write(keys, values, self.taken)

    def write(self, keys: torch.Tensor, values: torch.Tensor, end: int) -> None:
        """Write tokens `(1, heads, n, size)` to the taken places before `end`."""
        count = keys.shape[-2]
        self.keys.narrow(-2, end - count, count).copy_(keys)
        self.values.narrow(-2, end - count, count).copy_(values)


class GrowingLayer(DynamicLayer):
    """Holds the first places of a room, and takes the next if they are free."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.room: Room | None = None
        self.held = 0  # places of the room
        self._others: dict[str, torch.Tensor | None] = {}  # in place of a room
        super().__init__(*args, **kwargs)

    # Thirty texts that take a step have a thousand layers, and few of them are looked at.
    @property
    def keys(self) -> torch.Tensor | None:
        room = self.room
        return self._others["keys"] if room is None else room.keys.narrow(-2, 0, self.held)

    @keys.setter
    def keys(self, keys: torch.Tensor | None) -> None:
        self._set("keys", keys)

    @property
    def values(self) -> torch.Tensor | None:
        room = self.room
        return self._others["values"] if room is None else room.values.narrow(-2, 0, self.held)

    @values.setter
    def values(self, values: torch.Tensor | None) -> None:
        self._set("values", values)

    def _set(self, name: str, tensor: torch.Tensor | None) -> None:
        """Whoever sets keys or values leaves the room as it is."""
        if self.room is not None:
            self._others = {"keys": self.keys, "values": self.values}
            self.room = None
        self._others = {**self._others, name: tensor}

    def get_seq_length(self) -> int:
        return self.held if self.room is not None else super().get_seq_length()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
        self.take(key_states.shape[-2]).write(key_states, value_states, self.held)
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def take(self, count: int) -> Room:
        """Hold the next `count` places of the room too, or of a new one; they are to be written."""
        room = self.room
        if room is None or room.taken != self.held or room.taken + count > room.places:
            keys, values = self.keys, self.values
            assert keys is not None and values is not None
            self.held = keys.shape[-2]
            self.room = room = Room(keys, values, self.held + count)
        room.taken += count
        self.held += count
        return room

    @property
    def kept_bytes(self) -> int:
        if self.room is not None:
            return self.room.nbytes
        kept = [tensor for tensor in self._others.values() if tensor is not None]
        return sum(tensor.untyped_storage().nbytes() for tensor in kept)

    def cut(self, length: int) -> Self:
        """The first `length` tokens."""
        layer = object.__new__(type(self))  # `copy.copy` takes five times as long
        layer.__dict__.update(self.__dict__)
        if self.room is not None:
            layer.held = length
        elif self.is_initialized:
            assert self.keys is not None and self.values is not None
            layer.keys, layer.values = self.keys[..., :length, :], self.values[..., :length, :]
        return layer


class GrowingSlidingLayer(GrowingLayer, DynamicSlidingWindowLayer):
    """Keeps every token, and still shows attention only the window.

    transformers' own normally drops what has left its window, and then can't go back.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = super().update(key_states, value_states)
        shown = self.sliding_window - 1 + key_states.shape[-2]
        return keys[..., -shown:, :], values[..., -shown:, :]

    def take(self, count: int) -> Room:
        self.cumulative_length += count
        return super().take(count)

    def cut(self, length: int) -> Self:
        layer = super().cut(length)
        layer.cumulative_length = length
        return layer


def new_cache(config: PreTrainedConfig) -> DynamicCache | None:
    """An empty KV cache whose forks are exact; `None` if this model's cache has none."""
    cache = DynamicCache(config=config)
    if not cache.layers or not all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    ):
        return None
    cache.layers = [
        GrowingSlidingLayer(layer.sliding_window) if layer.is_sliding else GrowingLayer()
        for layer in cache.layers
    ]
    return cache


def fork(cache: DynamicCache, length: int) -> DynamicCache:
    """A cache of the first `length` tokens; the original stays as it was and no data is copied."""
    forked = copy.copy(cache)
    forked.layers = [layer.cut(length) for layer in cache.layers]
    return forked


def cache_bytes(cache: DynamicCache) -> int:
    """What a cache keeps in memory: the whole of its rooms, also if it shows little of them."""
    return sum(layer.kept_bytes for layer in cache.layers)
