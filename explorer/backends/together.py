"""One more token for each of many texts, in one forward pass.

Most of a step's time goes into reading the weights, which serves thirty tokens as well as one.
The tokens lie in one row, as if they were one text; only the attention looks at each text's
own keys and values. Nothing is padded, and no cache is copied.
"""

import copy
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from explorer.backends.fast_linear import make_recordable
from explorer.backends.kv_cache import fork
from explorer.backends.recorded import Pass, record

NAME = "each_text_its_own"
CLOSE = 0.01  # how far a shared pass may be from one's own, as a part of the largest logit
# What is raised by models that can't do it.
FAILURES = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError)
_under_way = threading.local()  # the pass that this thread runs


class Texts(nn.Module):
    """What the attention of a shared pass looks at. Compiled: it runs as part of a recording."""

    keys: list[list[Tensor]]  # of each layer, the rooms of all texts
    values: list[list[Tensor]]
    lengths: list[int]  # tokens that each text has
    windows: list[int]  # of each layer; 0 where all tokens are seen

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.values, self.lengths, self.windows = [], [], [], []

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, layer: int, scale: float | None
    ) -> Tensor:  # (1, n, heads, size); what goes in is (1, heads, n, size)
        """Each text's new token takes its place, and looks at all its own in the window."""
        looks: list[Tensor] = []
        all_keys, all_values, window = self.keys[layer], self.values[layer], self.windows[layer]
        for text, length in enumerate(self.lengths):
            keys, values = all_keys[text], all_values[text]
            keys.narrow(-2, length, 1).copy_(key.narrow(-2, text, 1))
            values.narrow(-2, length, 1).copy_(value.narrow(-2, text, 1))
            seen = length + 1 if window == 0 else min(length + 1, window)
            looks.append(
                scaled_dot_product_attention(
                    query.narrow(-2, text, 1),
                    keys.narrow(-2, length + 1 - seen, seen),
                    values.narrow(-2, length + 1 - seen, seen),
                    scale=scale,
                    enable_gqa=True,
                )
            )
        return torch.cat(looks, dim=-2).transpose(1, 2)


class Layers(DynamicCache):
    """Tells the attention what layer it is in; what it looks at is in `Texts`."""

    at = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        self.at = layer_idx
        return key_states, value_states


def attend_each(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    return _under_way.texts(query, key, value, _under_way.layers.at, scaling), None


AttentionInterface.register(NAME, attend_each)
AttentionMaskInterface.register(NAME, sdpa_mask)


class Together(nn.Module):
    """Shared passes of one model; one at a time."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._own = [model]  # in a list, as it is no part of this module
        # The same weights with another attention, so that the model itself stays as it is.
        tensors = (*model.parameters(), *model.buffers())
        self.model = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
        self.model.config.get_text_config()._attn_implementation = NAME
        for part in self.model.modules():
            if isinstance(part, PreTrainedModel):
                part.loss_type = "ForCausalLM"  # the tracer looks at its loss, which else complains
        self.texts = torch.jit.script(Texts())
        self.recorded: Pass | None = None

    def forward(self, token_ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Logits `(n, V)`; tokens and positions are `(1, n)`, the mask `(1, 1, n, n)`."""
        kinds = set(getattr(self.model.config.get_text_config(), "layer_types", None) or ())
        _under_way.texts, _under_way.layers = self.texts, Layers()
        try:
            logits: Tensor = self.model(
                input_ids=token_ids,
                position_ids=positions,
                attention_mask=dict.fromkeys(kinds, mask) if len(kinds) > 1 else mask,
                past_key_values=_under_way.layers,
                use_cache=True,
            ).logits[0]
        finally:
            _under_way.texts = _under_way.layers = None
        return logits

    def step(self, caches: Sequence[DynamicCache], token_ids: Sequence[int]) -> Tensor:  # (n, V)
        """Logits after one more token of each text; the caches take it in.

        Raises whatever a model raises that can't do this; the caches are useless then.
        """
        with self._over(caches, token_ids) as inputs:
            return (self.recorded or self)(*inputs)

    @contextmanager
    def _over(
        self, caches: Sequence[DynamicCache], token_ids: Sequence[int]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What a pass over these texts is given, while its attention looks at them.

        Each takes its place before the next one is looked at: two may go on from the same cache.
        """
        count, device = len(token_ids), self.model.device
        lengths = [cache.get_seq_length() for cache in caches]
        layers = list(zip(*(cache.layers for cache in caches), strict=True))
        rooms = [[layer.take(1) for layer in same] for same in layers]
        self.texts.keys = [[room.keys for room in same] for same in rooms]
        self.texts.values = [[room.values for room in same] for same in rooms]
        self.texts.lengths = lengths
        self.texts.windows = [getattr(same[0], "sliding_window", 0) for same in layers]
        # Nobody looks at it, but a model that is given none would make one.
        mask = torch.zeros(1, 1, count, count, dtype=self.model.dtype, device=device)
        try:
            yield (
                torch.tensor([token_ids], device=device),
                torch.tensor([lengths], device=device),
                mask,
            )
        finally:
            self.texts.keys, self.texts.values = [], []  # whoever has these caches keeps them

    def record(self, caches: Sequence[DynamicCache], token_ids: Sequence[int]) -> bool:
        """Make such passes quicker from now on; whether that can be done with this model.

        It takes a second, may be done in any thread, and tells nothing of the answers: whoever
        calls this tries them out.
        """
        make_recordable(self.model)
        forks = [fork(cache, cache.get_seq_length()) for cache in caches]
        with torch.inference_mode(), self._over(forks, token_ids) as inputs:
            self.recorded = record(self, inputs)
        return self.recorded is not None

    def try_out(self, caches: Sequence[DynamicCache], token_ids: Sequence[int]) -> bool:
        """Whether a shared pass gives each text what a pass of its own does, by these.

        Models differ in what their attention does besides (soft caps, sinks, biases), and in
        whether they let it be replaced at all.
        """
        lengths = [cache.get_seq_length() for cache in caches]
        try:
            shared = self.step(list(map(fork, caches, lengths)), token_ids)
        except FAILURES:
            return False
        [model] = self._own
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
