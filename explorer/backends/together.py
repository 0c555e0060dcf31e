"""One more token for each of many texts, in one forward pass.

Most of a step's time goes into reading the weights, which serves thirty tokens as well as one.
The tokens lie in one row, as if they were one text; only the attention looks at each text's
own keys and values. Nothing is padded, and no cache is copied.
"""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from explorer.backends.kv_cache import fork

NAME = "each_text_its_own"
_under_way = threading.local()  # the pass that this thread runs


class Together(DynamicCache):
    """The caches of several texts, each of which gets one more token; they grow in place."""

    def __init__(self, caches: Sequence[DynamicCache]) -> None:
        super().__init__()
        self.caches = caches
        self.grown: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the layer under way

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # (1, heads, n, size) each
        keys, values = key_states.split(1, dim=2), value_states.split(1, dim=2)
        self.grown = [
            cache.layers[layer_idx].update(key, value)
            for cache, key, value in zip(self.caches, keys, values, strict=True)
        ]
        return key_states, value_states


def attend_each(
    module: Any,
    query: torch.Tensor,  # (1, heads, n, size)
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Each text's new token looks at all its own; a sliding layer's cache shows its window."""
    looks = [
        scaled_dot_product_attention(one, keys, values, scale=scaling, enable_gqa=True)
        for one, (keys, values) in zip(query.split(1, dim=2), _under_way.texts.grown, strict=True)
    ]
    return torch.cat(looks, dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, attend_each)
AttentionMaskInterface.register(NAME, sdpa_mask)


CLOSE = 0.01  # how far a shared pass may be from one's own, as a part of the largest logit


def can_share(model: Any, caches: Sequence[DynamicCache], token_ids: Sequence[int]) -> bool:
    """Whether a shared pass gives each text what a pass of its own does; tried out on these.

    Models differ in what their attention does besides (soft caps, sinks, biases), and in
    whether they let it be replaced at all.
    """
    lengths = [cache.get_seq_length() for cache in caches]
    try:
        shared = step_together(model, list(map(fork, caches, lengths)), token_ids)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError):
        return False
    own = torch.stack(
        [
            model(
                input_ids=torch.tensor([[token_id]], device=model.device),
                past_key_values=fork(cache, length),
                use_cache=True,
            ).logits[0, -1]
            for cache, length, token_id in zip(caches, lengths, token_ids, strict=True)
        ]
    )
    return bool((shared - own).abs().max() <= CLOSE * own.abs().max())


def step_together(
    model: Any, caches: Sequence[DynamicCache], token_ids: Sequence[int]
) -> torch.Tensor:  # (n, V)
    """Logits after one more token of each text; the caches take it in.

    Raises whatever a model raises that can't do this; the caches are useless then.
    """
    config = model.config.get_text_config()
    before = config._attn_implementation
    texts = Together(caches)
    lengths = [cache.get_seq_length() for cache in caches]
    count = len(token_ids)
    # Nobody looks at it, but a model that is given none would make one.
    mask = torch.zeros(1, 1, count, count, dtype=model.dtype, device=model.device)
    kinds = set(getattr(config, "layer_types", None) or ())
    _under_way.texts = texts
    config._attn_implementation = NAME
    try:
        logits: torch.Tensor = model(
            input_ids=torch.tensor([token_ids], device=model.device),
            position_ids=torch.tensor([lengths], device=model.device),
            attention_mask=dict.fromkeys(kinds, mask) if len(kinds) > 1 else mask,
            past_key_values=texts,
            use_cache=True,
        ).logits[0]
    finally:
        config._attn_implementation = before
        _under_way.texts = None
    return logits
