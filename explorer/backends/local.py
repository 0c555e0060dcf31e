"""A decoder-only transformers model on this machine."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from explorer.backends.base import (
    Continuations,
    Message,
    ModelInfo,
    ScoredToken,
    Token,
    check_prefix,
    continuations_from,
)
from explorer.backends.fast_linear import (
    forget_reordered,
    let_reorder,
    reordered_bytes,
    speed_up_linear_layers,
)
from explorer.backends.grammar import GrammarMaker
from explorer.backends.int8 import round_linear_layers
from explorer.backends.logit_rows import score_rows, top_continuations
from explorer.backends.passes import Logits, Passes, Prefix
from explorer.backends.prefix_memory import PrefixMemory
from explorer.backends.tokenizer_apart import TokenizerApart
from explorer.backends.tokenizing import Tokenizing
from explorer.backends.vocabulary import tokenizer_family
from explorer.decoding import Constraint, Distribution, Grammar, Spelling

BRANCHES = 64  # prefixes in one forward pass
UNBOUNDED = 2**31 - 1  # the context of a model that sets none
PREDICTS_NEXT = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model")
DEFAULT_BUDGET = 2 * 2**30

Value = TypeVar("Value")


class Making:
    """Held while something is made that others may want, too; gone when nobody does."""

    def __init__(self) -> None:
        self.held = threading.Lock()


class LocalBackend:
    """Owns the weights, one forward at a time; remembers distributions and KV caches.

    Safe to share among threads: whoever asks for a prefix while it is being computed waits
    and gets the same answer, so a class on one prompt costs one forward pass.
    """

    def __init__(
        self, model: Any, tokenizer: Any, info: ModelInfo, memory: PrefixMemory | None = None
    ) -> None:
        self.info = info
        self._tokenizing = Tokenizing(tokenizer, info)
        self._grammars = GrammarMaker(info, self._tokenizing.tokens)
        self._memory = memory or PrefixMemory(DEFAULT_BUDGET)
        self._passes = Passes(model, info.model_id, self._memory)
        self._finding = threading.Lock()
        self._in_the_making: WeakValueDictionary[Prefix, Making] = WeakValueDictionary()

    @property
    def model(self) -> Any:
        """The transformers model itself."""
        return self._passes.model

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer itself, or one like it in a process of its own."""
        return self._tokenizing.tokenizer

    @property
    def weight_bytes(self) -> int:
        """The memory of the weights; tied ones count once."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def spare_bytes(self) -> int:
        """The memory that it takes, or may take, only to be faster."""
        return reordered_bytes(self.model)

    def use_spare(self, room_bytes: int) -> None:
        """Take up to so much more memory, if that makes passes for many users faster."""
        let_reorder(self.model, room_bytes, last=self.model.get_output_embeddings())

    def give_up_spare(self) -> None:
        """Do without that memory from now on."""
        forget_reordered(self.model)

    def quicken(self) -> None:
        """Make steps quicker from now on, beside those who work with the model."""
        self._passes.record()

    @property
    def waiting(self) -> int:
        """Turns at the model that are open."""
        return self._passes.waiting

    # text -> ids

    def encode(self, text: str) -> tuple[int, ...]:
        return self._tokenizing.encode(text)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self._tokenizing.encode_chat(messages)

    def token(self, token_id: int) -> Token:
        return self._tokenizing.token(token_id)

    def tokens(self) -> Iterator[Token]:
        """All tokens in order, looked up at once."""
        return self._tokenizing.tokens()

    def spelling(self) -> Spelling:
        return self._tokenizing.spelling()

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        return self._grammars.make(constraint, start)

    # ids -> logits

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        check_prefix(prefix, self.info)
        known = self._known_distribution(prefix)
        return self._passes.distribution_after(prefix) if known is None else known

    def next_distributions(self, prefixes: Sequence[Prefix]) -> tuple[Distribution, ...]:
        return self._after_each(
            prefixes,
            self._known_distribution,
            self._keep_distribution,
        )

    def continuations(self, prefixes: Sequence[Prefix], count: int) -> tuple[Continuations, ...]:
        count = min(count, self.info.vocab_size)
        return self._after_each(
            prefixes,
            lambda prefix: self._known_continuations(prefix, count),
            lambda prefix, logits: self._keep_continuations(prefix, logits, count),
        )

    def _after_each(
        self,
        prefixes: Sequence[Prefix],
        recall: Callable[[Prefix], Value | None],
        keep: Callable[[Prefix, Logits], Value],
    ) -> tuple[Value, ...]:
        """What is remembered of each prefix, the rest computed together and kept."""
        found = {}
        for prefix in prefixes:
            check_prefix(prefix, self.info)
            found[prefix] = recall(prefix)
        waiting = [prefix for prefix, value in found.items() if value is None]
        for first in range(0, len(waiting), BRANCHES):  # a turn each
            group = waiting[first : first + BRANCHES]
            for prefix, given in self._passes.logits_after_each(group, recall).items():
                found[prefix] = keep(prefix, given) if isinstance(given, np.ndarray) else given
        return tuple(value for prefix in prefixes if (value := found[prefix]) is not None)

    def score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        check_prefix(prefix, self.info)
        scored = self._memory.scores(self.info.model_id, prefix)
        if scored is None:
            with self._one_at_a_time(prefix):  # a class that opens one text scores it once
                scored = self._recall("scores", prefix) or self._score(prefix)
        self._memory.put("scores", self.info.model_id, prefix, scored)
        return scored

    @contextmanager
    def _one_at_a_time(self, prefix: Prefix) -> Iterator[None]:
        """Who wants the scores of the same prefix waits for the first one's."""
        with self._finding:
            lock = self._in_the_making.setdefault(prefix, Making())
        with lock.held:
            yield

    def _score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        """One pass for the whole text, in chunks whose logits fit in memory.

        The logits at a position score the token after it, so the scores of a shared first
        part are kept and the pass starts at its last token.
        """
        shared, found = self._memory.longest("scores", self.info.model_id, prefix)
        scored = list(found[1][:shared]) if found else [ScoredToken(prefix[0])]
        logits = np.empty((0, 0), dtype=np.float32)
        for first, logits in self._passes.rows(prefix, len(scored) - 1):
            skip = max(0, len(scored) - 1 - first)  # scored already; forwarded for the cache
            targets = prefix[first + skip + 1 : first + len(logits) + 1]
            scored += score_rows(logits[skip : skip + len(targets)], targets)
        self._keep_distribution(prefix, logits[-1])
        return tuple(scored)

    # memory

    def _recall(self, kind: str, prefix: tuple[int, ...]) -> Any:
        return self._memory.get(kind, self.info.model_id, prefix)

    def _known_continuations(self, prefix: Prefix, count: int) -> Continuations | None:
        known: Continuations | None = self._recall("continuations", prefix)
        if known is not None and len(known.token_ids) >= count:
            return Continuations(known.token_ids[:count], known.logprobs[:count])
        distribution = self._recall("distribution", prefix)
        return None if distribution is None else continuations_from(distribution, count)

    def _keep_continuations(self, prefix: Prefix, logits: Logits, count: int) -> Continuations:
        best = top_continuations(logits, count)
        self._memory.put("continuations", self.info.model_id, prefix, best)
        self._memory.forget("logits", self.info.model_id, prefix)
        return best

    def _known_distribution(self, prefix: Prefix) -> Distribution | None:
        distribution: Distribution | None = self._recall("distribution", prefix)
        return distribution

    def _keep_distribution(self, prefix: Prefix, logits: Logits) -> Distribution:
        return self._passes.keep_distribution(prefix, Distribution.from_logits(logits))


def open_local(
    source: str | Path,
    *,
    model_id: str | None = None,
    licence: str | None = None,
    memory: PrefixMemory | None = None,
    int8: bool = False,
    tokenizer_apart: bool = False,
) -> LocalBackend:
    """Load a model from a folder in transformers' format, or by its Hub id.

    With `int8` its weights are rounded to 8 bits, on a CPU, where that makes steps faster.
    With `tokenizer_apart` its tokenizer is in another process, and its loading stops nobody.
    Raises what transformers raises (`OSError`, `ValueError`) when there is no such model.
    """
    device, dtype = ("cpu", torch.float32) if int8 else _device_and_dtype()
    apart = TokenizerApart(source) if tokenizer_apart else None  # it loads while the weights do
    model, found = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, output_loading_info=True, trust_remote_code=False
    )
    _check_whole(model, sorted(found["missing_keys"]))
    model = model.to(device)
    tokenizer = (
        apart.tokenizer()
        if apart
        else AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    )
    if int8:
        round_linear_layers(model)
    else:
        speed_up_linear_layers(model)
    info = replace(
        describe(model, tokenizer),
        model_id=model_id or str(source),
        licence=licence,
    )
    if int8:
        info = replace(info, dtype="int8")
    return LocalBackend(model, tokenizer, info, memory)


def _check_whole(model: Any, missing: list[str]) -> None:
    """transformers fills what lacks with random numbers, and lets models for other uses pass."""
    made_for = model.config.architectures or []
    if made_for and not any(name.endswith(PREDICTS_NEXT) for name in made_for):
        raise ValueError(f"it is a {', '.join(made_for)}, which does not predict a next token")
    if missing:
        raise ValueError(f"its weights lack {missing[0]}, {len(missing)} tensors in all")


def describe(model: Any, tokenizer: Any) -> ModelInfo:
    """What the model's own configuration says of it."""
    config = model.config.get_text_config()
    ends = model.generation_config.eos_token_id if model.generation_config else None
    end_ids = {ends} if isinstance(ends, int) else set(ends or ())
    if tokenizer.eos_token_id is not None:
        end_ids.add(tokenizer.eos_token_id)
    return ModelInfo(
        model_id=str(config.name_or_path),
        vocab_size=model.get_input_embeddings().weight.shape[0],
        context_length=getattr(config, "max_position_embeddings", None) or UNBOUNDED,
        tokenizer_family=tokenizer_family(tokenizer),
        has_chat_template=bool(tokenizer.chat_template),
        bos_token_id=tokenizer.bos_token_id,
        end_token_ids=tuple(sorted(end_ids)),
        revision=getattr(config, "_commit_hash", None),
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
    )


def _device_and_dtype() -> tuple[str, torch.dtype]:
    if torch.cuda.is_available():
        return "cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if torch.backends.mps.is_available():
        return "mps", torch.float16
    return "cpu", torch.float32
