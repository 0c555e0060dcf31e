"""Many continuations of one prefix in one forward pass.

They all lie in one row. The keys and values of the prefix are there once; after them each
token of the tree of continuations has a slot, and a mask lets it see the prefix, its own
ancestors and itself (tree attention: Miao et al., "SpecInfer", 2023, section 4).
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from explorer.backends.kv_cache import GrowingLayer, new_cache

Prefix = tuple[int, ...]
MAX_SLOTS = 1024  # of one tree: every token in it makes the next pass a little slower
FULL, SLIDING = "full_attention", "sliding_attention"


def can_branch(model: Any) -> bool:
    """Whether this model takes a mask and positions of our own making, and obeys them."""
    accepted = inspect.signature(model.forward).parameters
    config = model.config.get_text_config()
    return (
        {"position_ids", "attention_mask", "past_key_values"} <= set(accepted)
        and new_cache(model.config) is not None
        and set(getattr(config, "layer_types", None) or [FULL]) <= {FULL, SLIDING}
        and config._attn_implementation in ("eager", "sdpa")
    )


class Branches:
    """The keys and values of a prefix, the root, and of the continuations computed so far.

    A continuation is named by its tail: the tokens after the root.
    """

    def __init__(self, root: Prefix, cache: DynamicCache) -> None:
        """`cache` holds the root's tokens, all of them in every layer; it is not changed."""
        self.root = root
        self.windows = [
            layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else None
            for layer in cache.layers
        ]
        self.cache = DynamicCache()
        self.cache.layers = [_keeping_all(layer) for layer in cache.layers]
        self._slots: dict[Prefix, int] = {}  # by tail
        self._positions: list[int] = []  # of each slot's token in its own text

    def __len__(self) -> int:
        return len(self._positions)

    def needed(self, tails: Sequence[Prefix]) -> list[Prefix]:
        """What a pass must hold to answer these tails: they, and ancestors that have no slot."""
        ancestors = {tail[:end] for tail in tails for end in range(1, len(tail))}
        return sorted((ancestors - self._slots.keys()) | set(tails), key=len)

    def inputs(self, tails: Sequence[Prefix], dtype: torch.dtype, device: Any) -> dict[str, Any]:
        """What a forward pass over these tails needs; from here on they have slots."""
        first = len(self)
        self._slots |= {tail: first + n for n, tail in enumerate(tails)}
        self._positions += [len(self.root) + len(tail) - 1 for tail in tails]
        root = len(self.root)
        positions = torch.tensor(self._positions)
        seen = torch.zeros(len(tails), root + len(self), dtype=torch.bool)
        seen[:, :root] = True
        for row, tail in enumerate(tails):
            line = [root + self._slots[tail[:end]] for end in range(1, len(tail) + 1)]
            seen[row, line] = True
        distance = positions[first:, None] - torch.cat((torch.arange(root), positions))
        masks = {}
        for window in set(self.windows):
            visible = seen if window is None else seen & (distance < window)
            mask = torch.zeros(visible.shape, dtype=dtype)
            mask[~visible] = torch.finfo(dtype).min
            masks[FULL if window is None else SLIDING] = mask[None, None].to(device)
        return {
            "position_ids": positions[None, first:].to(device),
            "attention_mask": masks if len(masks) > 1 else next(iter(masks.values())),
        }


def _keeping_all(layer: DynamicLayer) -> GrowingLayer:
    """A layer with the same tokens that shows all of them: what is seen is the mask's to say.

    It has no room yet: a tree grows in one of its own, and the text goes on where it is.
    """
    plain = GrowingLayer()
    plain.lazy_initialization(layer.keys, layer.values)
    plain.keys, plain.values = layer.keys, layer.values
    return plain


def common_root(prefixes: Sequence[Prefix]) -> Prefix:
    """The longest beginning that all prefixes share and that leaves each a token of its own.

    >>> common_root([(1, 2, 3), (1, 2, 4, 5)]), common_root([(1, 2), (1, 2, 3)])
    ((1, 2), (1,))
    """
    least, most = min(prefixes), max(prefixes)  # in the order of tuples, they differ first
    shared = next(
        (at for at, (one, other) in enumerate(zip(least, most, strict=False)) if one != other),
        min(len(least), len(most)),
    )
    return least[: min(shared, min(map(len, prefixes)) - 1)]
