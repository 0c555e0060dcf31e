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

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

SPARE = 32  # places at least, when a room is made; or a quarter of what it must hold


class Room:
    """Places for the keys and values of one layer, the first of them taken."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, needed: int) -> None:
        places = needed + max(SPARE, needed // 4)
        self.keys, self.values = (
            old.new_empty((*old.shape[:-2], places, old.shape[-1])) for old in (keys, values)
        )
        self.places, self.taken = places, 0
        self.take(keys, values)

    def take(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the next tokens `(1, heads, n, size)`."""
        count = keys.shape[-2]
        self.keys.narrow(-2, self.taken, count).copy_(keys)
        self.values.narrow(-2, self.taken, count).copy_(values)
        self.taken += count


class GrowingLayer(DynamicLayer):
    """Holds the first places of a room, and takes the next if they are free."""

    room: Room | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        held = self.get_seq_length()
        end = held + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
        if self.room is None or not self._ends_in(self.room) or end > self.room.places:
            self.room = Room(self.keys, self.values, end)
        self.room.take(key_states, value_states)
        self.keys = self.room.keys.narrow(-2, 0, end)
        self.values = self.room.values.narrow(-2, 0, end)
        return self.keys, self.values

    def _ends_in(self, room: Room) -> bool:
        """Whether these keys are all that was taken there, and not others set since."""
        return room.taken == self.keys.shape[-2] and room.keys.data_ptr() == self.keys.data_ptr()


class GrowingSlidingLayer(GrowingLayer, DynamicSlidingWindowLayer):
    """Keeps every token, and still shows attention only the window.

    transformers' own normally drops what has left its window, and then can't go back.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = super().update(key_states, value_states)
        count = key_states.shape[-2]
        self.cumulative_length += count
        shown = self.sliding_window - 1 + count
        return keys[..., -shown:, :], values[..., -shown:, :]


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
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in forked.layers:
        if layer.get_seq_length() == length:
            continue  # thirty texts that take a step have a thousand layers, none of them cut
        if layer.is_initialized:
            layer.keys = layer.keys[..., :length, :]
            layer.values = layer.values[..., :length, :]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = length
    return forked


def cache_bytes(cache: DynamicCache) -> int:
    """What a cache keeps in memory: the whole of its rooms, also if it shows little of them."""
    return sum(
        tensor.untyped_storage().nbytes()
        for layer in cache.layers
        if layer.is_initialized
        for tensor in (layer.keys, layer.values)
    )
