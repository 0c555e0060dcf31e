"""transformers' KV caches, cut back and continued without a copy.

Rule 1: nothing in a cache is ever changed in place. transformers' dynamic layers grow by
`torch.cat`, which makes new tensors, so a fork shares its tensors with what it came from.
Rule 2: a cache of any other kind is never reused. A full pass is slow; a wrong answer is wrong.
"""

import copy

from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


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
