"""A decoder-only transformers model on this machine."""

import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from explorer.backends.base import (
    ChatRefused,
    Continuations,
    Message,
    ModelInfo,
    NoChatTemplate,
    NothingToPredict,
    ScoredToken,
    Token,
    check_prefix,
    check_text,
    continuations_from,
    score_from,
)
from explorer.backends.branches import MAX_SLOTS, Branches, can_branch, common_root
from explorer.backends.grammar import GrammarMaker
from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.logit_rows import score_rows, top_continuations
from explorer.backends.prefix_memory import PrefixMemory
from explorer.backends.vocabulary import Vocabulary, tokenizer_family
from explorer.decoding import Constraint, Distribution, Grammar, Spelling

PREFILL_CHUNK = 512  # tokens in one forward pass: bounds the memory of attention masks
LOGITS_BYTES = 256 * 2**20  # of one forward pass that returns logits for every token
BRANCHES = 64  # prefixes in one forward pass
UNBOUNDED = 2**31 - 1  # the context of a model that sets none
DEFAULT_BUDGET = 2 * 2**30

Prefix = tuple[int, ...]
Logits = NDArray[np.float32]  # (V,)
Value = TypeVar("Value")


class LocalBackend:
    """Owns the weights, one forward at a time; remembers distributions and KV caches.

    Safe to share among threads: whoever asks for a prefix while it is being computed waits
    and gets the same answer, so a class on one prompt costs one forward pass.
    """

    def __init__(
        self, model: Any, tokenizer: Any, info: ModelInfo, memory: PrefixMemory | None = None
    ) -> None:
        self.model = model.eval()
        self.info = info
        self._tokenizer = tokenizer
        self._vocabulary = Vocabulary(tokenizer, info.tokenizer_family)
        self._grammars = GrammarMaker(info, lambda: self._vocabulary.tokens(info))
        self._spelling: Spelling | None = None
        self._indexing = threading.Lock()
        self._memory = memory or PrefixMemory(DEFAULT_BUDGET)
        self._computing = threading.RLock()
        self._tokenizing = threading.Lock()  # a fast tokenizer refuses to be borrowed twice
        accepted = inspect.signature(model.forward).parameters
        self._takes_logits_to_keep = "logits_to_keep" in accepted
        self._can_branch = can_branch(model)
        self._can_reuse = "past_key_values" in accepted and new_cache(model.config) is not None

    # text -> ids

    def encode(self, text: str) -> tuple[int, ...]:
        check_text(text)
        with self._tokenizing:
            token_ids = tuple(self._tokenizer(text, verbose=False)["input_ids"])
        if token_ids:
            return token_ids
        if self.info.bos_token_id is None:
            raise NothingToPredict(
                "the prompt is empty and the model has no BOS token to start from"
            )
        return (self.info.bos_token_id,)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        if not self.info.has_chat_template:
            raise NoChatTemplate(
                f"{self.info.model_id} has no chat template", model=self.info.model_id
            )
        for message in messages:
            check_text(message["role"])
            check_text(message["content"])
        with self._tokenizing:
            try:
                encoded = self._tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    add_generation_prompt=True,
                    return_dict=True,
                )
            except jinja2.TemplateError as error:
                raise ChatRefused(
                    f"the chat template of {self.info.model_id} refuses this: {error}",
                    model=self.info.model_id,
                    detail=str(error),
                ) from error
        return tuple(encoded["input_ids"])

    def token(self, token_id: int) -> Token:
        return self._vocabulary.token(token_id, self.info)

    def spelling(self) -> Spelling:
        with self._indexing:
            if self._spelling is None:
                tokens = self._vocabulary.tokens(self.info)
                self._spelling = Spelling(None if one.special else one.raw for one in tokens)
            return self._spelling

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        return self._grammars.make(constraint, start)

    # ids -> logits

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        check_prefix(prefix, self.info)
        known = self._recall("distribution", prefix)
        if known is None:
            with self._computing:
                known = self._recall("distribution", prefix)
                if known is None:
                    known = self._compute(prefix)
        return known

    def next_distributions(self, prefixes: Sequence[Prefix]) -> tuple[Distribution, ...]:
        return self._after_each(
            prefixes,
            lambda prefix: self._recall("distribution", prefix),
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
        while waiting:  # the lock is free between two passes: a click need not wait for all
            with self._computing:
                group = waiting[:BRANCHES]
                waiting = waiting[BRANCHES:]
                for prefix in group:
                    found[prefix] = recall(prefix)
                group = [prefix for prefix in group if found[prefix] is None]
                for prefix, logits in zip(group, self._logits_after_each(group), strict=True):
                    found[prefix] = keep(prefix, logits)
        return tuple(value for prefix in prefixes if (value := found[prefix]) is not None)

    def _compute(self, prefix: Prefix) -> Distribution:
        return self._keep_distribution(prefix, self._logits_after(prefix))

    def _logits_after(self, prefix: Prefix) -> Logits:
        """One pass over the tokens after the longest prefix that a KV cache is kept of."""
        cache, start = self._cache_up_to(prefix, len(prefix) - 1)
        logits = np.empty((0, 0), dtype=np.float32)
        for first in range(start, len(prefix), PREFILL_CHUNK if cache is not None else len(prefix)):
            chunk = prefix[first : first + PREFILL_CHUNK] if cache is not None else prefix
            logits = self._forward(chunk, cache, only_last=True)
        self._keep_cache(prefix, cache)
        return logits[-1]

    def _logits_after_each(self, prefixes: list[Prefix]) -> Sequence[Logits]:
        """One pass for all of them where the model and the prefixes allow it."""
        root = common_root(prefixes) if len(prefixes) > 1 and self._can_branch else ()
        branches = self._branches_from(root, prefixes) if root else None
        if branches is None:
            return [self._logits_after(prefix) for prefix in prefixes]
        tails = [prefix[len(branches.root) :] for prefix in prefixes]
        fresh = branches.needed(tails)
        # Taken out while it grows: a pass that fails must not leave a tree half grown.
        self._memory.forget("branches", self.info.model_id, branches.root)
        inputs = branches.inputs(fresh, self.model.dtype, self.model.device)
        wanted = [fresh.index(tail) for tail in tails]  # ancestors' logits nobody asked for
        logits = self._forward(
            [tail[-1] for tail in fresh], branches.cache, wanted=wanted, **inputs
        )
        self._memory.put("branches", self.info.model_id, branches.root, branches)
        return list(logits)

    def _branches_from(self, root: Prefix, prefixes: list[Prefix]) -> Branches | None:
        """The tree that needs the fewest new tokens to hold these prefixes, maybe a new one.

        `None` where they have too little in common for one pass, or no memory is left.
        """
        cache, length = self._cache_up_to(root, len(root))
        rest = {prefix[: end + 1] for prefix in prefixes for end in range(len(root), len(prefix))}
        best, least = None, len(root) - length + len(rest)
        for start, tree in self._memory.beginnings("branches", self.info.model_id, root):
            new = len(tree.needed([prefix[len(start) :] for prefix in prefixes]))
            if new <= min(least, PREFILL_CHUNK) and len(tree) + new <= MAX_SLOTS:
                best, least = tree, new
        if best is not None:
            return best
        if len(rest) > PREFILL_CHUNK:
            return None
        if length < len(root):
            self._logits_after(root)
            cache, length = self._cache_up_to(root, len(root))
        return Branches(root, cache) if length == len(root) else None

    def score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        check_prefix(prefix, self.info)
        scored = self._recall("scores", prefix)
        if scored is None:
            with self._computing:
                scored = self._scored_from_memory(prefix) or self._score(prefix)
                self._memory.put("scores", self.info.model_id, prefix, scored)
        return scored

    def _scored_from_memory(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...] | None:
        """Scores that need no forward pass: those of a known prefix and what followed it."""
        following: list[ScoredToken] = []
        for end in range(len(prefix), 0, -1):
            known = self._recall("scores", prefix[:end])
            if known is not None:
                return (*known, *reversed(following))
            distribution = self._recall("distribution", prefix[: end - 1])
            if distribution is None:
                return None
            following.append(score_from(distribution, prefix[end - 1]))
        return None

    def _score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        """One pass for the whole text, in chunks whose logits fit in memory.

        The logits at a position score the token after it, so the scores of a shared first
        part are kept and the pass starts at its last token.
        """
        shared, found = self._memory.longest("scores", self.info.model_id, prefix)
        scored = list(found[1][:shared]) if found else [ScoredToken(prefix[0])]
        cache, start = self._cache_up_to(prefix, len(scored) - 1)
        rows = max(1, LOGITS_BYTES // (4 * self.info.vocab_size))
        size = min(PREFILL_CHUNK, rows) if cache is not None else len(prefix)
        logits = np.empty((0, 0), dtype=np.float32)
        for first in range(start, len(prefix), size):
            logits = self._forward(prefix[first : first + size], cache, only_last=False)
            skip = max(0, len(scored) - 1 - first)  # scored already; forwarded for the cache
            targets = prefix[first + skip + 1 : first + len(logits) + 1]
            scored += score_rows(logits[skip : skip + len(targets)], targets)
        self._keep_cache(prefix, cache)
        self._keep_distribution(prefix, logits[-1])
        return tuple(scored)

    # memory

    def _recall(self, kind: str, prefix: tuple[int, ...]) -> Any:
        return self._memory.get(kind, self.info.model_id, prefix)

    def _cache_up_to(self, prefix: tuple[int, ...], limit: int) -> tuple[Any, int]:
        """A KV cache of the first ids of `prefix`, `limit` at most, and how many it holds."""
        if not self._can_reuse:
            return None, 0
        shared, found = self._memory.longest("cache", self.info.model_id, prefix)
        length = min(shared, limit)
        if found is None or length == 0:
            return new_cache(self.model.config), 0
        return fork(found[1], length), length

    def _known_continuations(self, prefix: Prefix, count: int) -> Continuations | None:
        known: Continuations | None = self._recall("continuations", prefix)
        if known is not None and len(known.token_ids) >= count:
            return Continuations(known.token_ids[:count], known.logprobs[:count])
        distribution = self._recall("distribution", prefix)
        return None if distribution is None else continuations_from(distribution, count)

    def _keep_continuations(self, prefix: Prefix, logits: Logits, count: int) -> Continuations:
        best = top_continuations(logits, count)
        self._memory.put("continuations", self.info.model_id, prefix, best)
        return best

    def _keep_distribution(self, prefix: Prefix, logits: Logits) -> Distribution:
        # A pass of another shape differs in the last digits: what was shown once stays.
        distribution: Distribution | None = self._recall("distribution", prefix)
        if distribution is None:
            distribution = Distribution.from_logits(logits)
            self._memory.put("distribution", self.info.model_id, prefix, distribution)
        return distribution

    def _keep_cache(self, prefix: Prefix, cache: Any) -> None:
        if cache is not None:
            self._memory.put("cache", self.info.model_id, prefix, cache)
            # The longer cache can be cut back to the shorter one, which then is not needed.
            self._memory.forget("cache", self.info.model_id, prefix[:-1])

    def _forward(
        self,
        token_ids: Sequence[int],
        cache: Any,
        *,
        only_last: bool = False,
        wanted: Sequence[int] | None = None,
        **inputs: Any,
    ) -> NDArray[np.float32]:  # (n, V), (1, V) for the last token only, or a row for each wanted
        """The only place that runs the model."""
        inputs["use_cache"] = cache is not None
        if cache is not None:
            inputs["past_key_values"] = cache
        if only_last:
            wanted = [len(token_ids) - 1]
        with torch.inference_mode():
            ids = torch.tensor([token_ids], dtype=torch.long, device=self.model.device)
            if wanted is not None:
                places = torch.tensor(wanted, device=self.model.device)
                if self._takes_logits_to_keep:
                    inputs["logits_to_keep"] = 1 if only_last else places
            logits = self.model(input_ids=ids, **inputs).logits[0]
            if wanted is not None and len(logits) != len(wanted):
                logits = logits[places]
            rows: NDArray[np.float32] = logits.float().cpu().numpy()
        return rows


def open_local(
    source: str | Path,
    *,
    model_id: str | None = None,
    licence: str | None = None,
    memory: PrefixMemory | None = None,
) -> LocalBackend:
    """Load a model from a folder in transformers' format, or by its Hub id.

    Raises what transformers raises (`OSError`, `ValueError`) when there is no such model.
    """
    device, dtype = _device_and_dtype()
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype).to(device)
    info = replace(
        describe(model, tokenizer),
        model_id=model_id or str(source),
        licence=licence,
    )
    return LocalBackend(model, tokenizer, info, memory)


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
