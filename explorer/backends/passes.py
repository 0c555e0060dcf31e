"""The forward passes of one model: in turn, shared where they can be, never twice over a token.

Nothing else runs the model. What a pass leaves behind, KV caches and trees of continuations,
is kept in the memory that all models share.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from weakref import WeakMethod

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.backends.branches import MAX_SLOTS, Branches, can_branch, common_root
from explorer.backends.counts import COMPUTED
from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.model_thread import on_model_thread
from explorer.backends.prefix_memory import PrefixMemory
from explorer.backends.together import FAILURES, Together
from explorer.backends.turns import Turns
from explorer.decoding import Distribution

PREFILL_CHUNK = 512  # tokens in one forward pass: bounds the memory of attention masks
SHARED_CHUNK = 128  # while others wait for their turn
LOGITS_BYTES = 256 * 2**20  # of one forward pass that returns logits for every token
TOGETHER = 32  # texts that take a step in one forward pass
TRIED = 3  # of them, to see whether this model can

Prefix = tuple[int, ...]
Logits = NDArray[np.float32]  # (V,)
Value = TypeVar("Value")


class Passes:
    """Runs the model for whoever's turn it is. Safe to share among threads."""

    def __init__(self, model: Any, model_id: str, memory: PrefixMemory) -> None:
        self.model, self._model_id, self._memory = model.eval(), model_id, memory
        serve = WeakMethod(self._serve)  # no cycle: the weights go as soon as nobody has them

        def serve_while_here(prefixes: list[Prefix]) -> dict[Prefix, Distribution]:
            method = serve()
            assert method is not None, "whoever waits for a turn holds the passes"
            return on_model_thread(method, prefixes)

        self._turns: Turns[Prefix, Distribution] = Turns(serve_while_here, TOGETHER)
        accepted = inspect.signature(model.forward).parameters
        self._takes_logits_to_keep = "logits_to_keep" in accepted
        self._can_reuse = "past_key_values" in accepted and new_cache(model.config) is not None
        self._can_branch = can_branch(model)
        self._together: Together | None = None
        self._can_share: bool | None = None  # unknown until two texts first wait together

    @property
    def waiting(self) -> int:
        """Turns that are open."""
        return len(self._turns)

    # what others ask for

    def distribution_after(self, prefix: Prefix) -> Distribution:
        """What comes after a prefix: a pass over the tokens that no KV cache is kept of."""
        return self._turns.ask(prefix)

    def logits_after_each(
        self, prefixes: list[Prefix], known: Callable[[Prefix], Value | None]
    ) -> dict[Prefix, Logits | Value]:
        """What comes after each of several prefixes: one pass if they begin alike.

        What is `known` of a prefix by then is given instead.
        """

        def work() -> dict[Prefix, Logits | Value]:
            found: dict[Prefix, Logits | Value] = {}
            for prefix in prefixes:
                value = known(prefix)
                if value is None:
                    value = self._memory.get("logits", self._model_id, prefix)
                if value is not None:
                    found[prefix] = value
            missing = [prefix for prefix in prefixes if prefix not in found]
            for prefix, logits in zip(missing, self._after_each(missing), strict=True):
                found[prefix] = self._keep_logits(prefix, logits)
            return found

        return self._alone(work)

    def rows(self, prefix: Prefix, needed: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Logits `(n, V)` after each token of a text, at the latest from place `needed` on.

        In chunks whose logits fit in memory; each comes with the place of its first token.
        """
        cache, start = self._cache_up_to(prefix, needed)
        first = start
        while first < len(prefix):
            rows = self._alone(partial(self._next_rows, prefix, first, cache))
            yield first, rows
            first += len(rows)
        self._keep_cache(prefix, cache, start)

    def record(self) -> None:
        """Make steps quicker from now on, if this model's can be recorded.

        For a thread of its own: it takes a second, most of which others can work in. Only on a
        processor: for a GPU, torch would compile kernels of its own at each new size.
        """
        if self.model.device.type != "cpu" or not self._can_reuse:
            return
        texts = [tuple(range(1, 2 + number)) for number in range(TRIED)]
        together, last = Together(self.model), list(range(1, 1 + TRIED))
        caches = list(map(self._cache_of, texts))
        if not together.record(caches, last):
            return

        def try_out(count: int) -> bool:
            with torch.inference_mode():
                return together.try_out(caches[:count], last[:count])

        def use() -> None:
            self._together, self._can_share = together, True

        if all(self._alone(partial(try_out, count)) for count in (1, TRIED)):
            self._alone(use)

    def _cache_of(self, text: Prefix) -> Any:
        """Token by token, as others wait: they all compute on one thread."""
        cache = new_cache(self.model.config)
        for token_id in text:
            self._alone(partial(self._forward, (token_id,), cache, only_last=True))
        return cache

    # one turn

    def _alone(self, work: Callable[[], Value]) -> Value:
        return self._turns.alone(partial(on_model_thread, work))

    def _next_rows(self, prefix: Prefix, first: int, cache: Any) -> NDArray[np.float32]:
        if cache is None:
            return self._forward(prefix, None)
        fitting = max(1, LOGITS_BYTES // (4 * self.model.config.get_text_config().vocab_size))
        return self._forward(prefix[first : first + min(fitting, self._chunk())], cache)

    def _serve(self, prefixes: list[Prefix]) -> dict[Prefix, Distribution]:
        """A step for each text that waits for one, in one pass; else a part of a longer text."""
        answers: dict[Prefix, Distribution] = {}
        found: dict[Prefix, Logits] = {}  # each in memory of its own
        steps: dict[Prefix, Any] = {}
        longer: list[Prefix] = []
        for prefix in prefixes:
            cache, length = self._cache_up_to(prefix, len(prefix) - 1)
            distribution = self._memory.get("distribution", self._model_id, prefix)
            if distribution is not None:
                answers[prefix] = distribution
            elif (known := self._memory.get("logits", self._model_id, prefix)) is not None:
                found[prefix] = known.copy()
            elif 0 < length == len(prefix) - 1:
                steps[prefix] = cache
            else:
                longer.append(prefix)
        found |= self._steps(steps)
        for prefix in [] if steps else longer[:1]:
            part = self._part_of(prefix)
            if part is not None:
                found[prefix] = part
        for prefix, logits in found.items():
            distribution = Distribution.from_logits(logits, copy=False)
            answers[prefix] = self.keep_distribution(prefix, distribution)
        return answers

    def _steps(self, steps: dict[Prefix, Any]) -> dict[Prefix, Logits]:
        """The logits after each text's last token; `steps` holds the caches up to it."""
        if not steps:
            return {}
        caches, last = list(steps.values()), [prefix[-1] for prefix in steps]
        together = self._together_for(caches, last)
        if together is None:
            return {prefix: self._step(prefix, cache) for prefix, cache in steps.items()}
        with torch.inference_mode():
            rows = together.step(caches, last).float().cpu().numpy()
        COMPUTED.count(len(last))
        for prefix, cache in steps.items():
            self._keep_cache(prefix, cache, len(prefix) - 1)
        own = map(np.copy, rows) if len(rows) > 1 else rows  # who keeps one does not keep all
        return dict(zip(steps, own, strict=True))

    def _together_for(self, caches: Sequence[Any], last: Sequence[int]) -> Together | None:
        """What runs a pass over these; `None` where each takes a step of its own."""
        together = self._together
        if len(caches) < 2:
            return together if together is not None and together.recorded else None
        if self._can_share is None:
            self._can_share = False
            try:
                self._together = together = Together(self.model)
            except FAILURES:
                return None
            with torch.inference_mode():
                self._can_share = together.try_out(caches[:TRIED], last[:TRIED])
        return together if self._can_share else None

    def _step(self, prefix: Prefix, cache: Any) -> Logits:
        logits = self._forward(prefix[-1:], cache, only_last=True)
        self._keep_cache(prefix, cache, len(prefix) - 1)
        last: Logits = logits[-1]
        return last

    def _part_of(self, prefix: Prefix) -> Logits | None:
        """One pass over a text of many tokens; `None` if it needs another one."""
        cache, start = self._cache_up_to(prefix, len(prefix) - 1)
        end = start + self._chunk()
        if cache is None or end >= len(prefix):
            return self._to_the_end(prefix)
        self._forward(prefix[start:end], cache, only_last=True)
        if not self._keep_cache(prefix[:end], cache, start):
            return self._to_the_end(prefix)
        return None

    def _to_the_end(self, prefix: Prefix) -> Logits:
        """All that is missing, whoever waits."""
        cache, start = self._cache_up_to(prefix, len(prefix) - 1)
        logits = np.empty((0, 0), dtype=np.float32)
        for first in range(start, len(prefix), PREFILL_CHUNK if cache is not None else len(prefix)):
            chunk = prefix[first : first + PREFILL_CHUNK] if cache is not None else prefix
            logits = self._forward(chunk, cache, only_last=True)
        self._keep_cache(prefix, cache, start)
        last: Logits = logits[-1]
        return last

    def _after_each(self, prefixes: list[Prefix]) -> Sequence[Logits]:
        root = common_root(prefixes) if len(prefixes) > 1 and self._can_branch else ()
        branches = self._branches_from(root, prefixes) if root else None
        if branches is None:
            return [self._to_the_end(prefix) for prefix in prefixes]
        tails = [prefix[len(branches.root) :] for prefix in prefixes]
        fresh = branches.needed(tails)
        # Taken out while it grows: a pass that fails must not leave a tree half grown.
        self._memory.forget("branches", self._model_id, branches.root)
        inputs = branches.inputs(fresh, self.model.dtype, self.model.device)
        wanted = [fresh.index(tail) for tail in tails]  # ancestors' logits nobody asked for
        logits = self._forward(
            [tail[-1] for tail in fresh], branches.cache, wanted=wanted, **inputs
        )
        self._memory.put("branches", self._model_id, branches.root, branches)
        return list(logits)

    def _branches_from(self, root: Prefix, prefixes: list[Prefix]) -> Branches | None:
        """The tree that needs the fewest new tokens to hold these prefixes, maybe a new one.

        `None` where they have too little in common for one pass, or no memory is left.
        """
        cache, length = self._cache_up_to(root, len(root))
        rest = {prefix[: end + 1] for prefix in prefixes for end in range(len(root), len(prefix))}
        best: Branches | None = None
        least = len(root) - length + len(rest)
        for start, tree in self._memory.beginnings("branches", self._model_id, root):
            new = len(tree.needed([prefix[len(start) :] for prefix in prefixes]))
            if new <= min(least, PREFILL_CHUNK) and len(tree) + new <= MAX_SLOTS:
                best, least = tree, new
        if best is not None:
            return best
        if len(rest) > PREFILL_CHUNK:
            return None
        if length < len(root):
            self._to_the_end(root)
            cache, length = self._cache_up_to(root, len(root))
        return Branches(root, cache) if length == len(root) else None

    # what is kept

    def _chunk(self) -> int:
        """How much of a long text one turn takes: less while others wait."""
        return SHARED_CHUNK if self._turns.others_wait else PREFILL_CHUNK

    def _cache_up_to(self, prefix: Prefix, limit: int) -> tuple[Any, int]:
        """A KV cache of the first ids of `prefix`, `limit` at most, and how many it holds."""
        if not self._can_reuse:
            return None, 0
        shared, found = self._memory.longest("cache", self._model_id, prefix)
        length = min(shared, limit)
        if found is None or length == 0:
            return new_cache(self.model.config), 0
        return fork(found[1], length), length

    def _keep_cache(self, prefix: Prefix, cache: Any, start: int) -> bool:
        """Whether there is room for it, in place of the one of `start` tokens that it went on from.

        It can be cut back to that one; and if it lies in the same memory, that counts once.
        """
        if cache is None:
            return False
        self._memory.put("cache", self._model_id, prefix, cache)
        kept = self._memory.get("cache", self._model_id, prefix) is cache
        if kept:
            self._memory.forget("cache", self._model_id, prefix[:start])
        return kept

    def keep_distribution(self, prefix: Prefix, distribution: Distribution) -> Distribution:
        """Remember it, or give the one that is there: what was shown once stays.

        A pass of another shape differs in the last digits.
        """
        kept = self._memory.keep_first("distribution", self._model_id, prefix, distribution)
        self._memory.forget("logits", self._model_id, prefix)
        return kept

    def _keep_logits(self, prefix: Prefix, logits: Logits) -> Logits:
        """For who comes before those that wait have made a distribution of it."""
        self._memory.put("logits", self._model_id, prefix, logits)
        return logits

    def _forward(
        self,
        token_ids: Sequence[int],
        cache: Any,
        *,
        only_last: bool = False,
        wanted: Sequence[int] | None = None,
        **inputs: Any,
    ) -> NDArray[np.float32]:  # (n, V), (1, V) for the last token only, or a row for each wanted
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
        COMPUTED.count(len(token_ids))
        return rows
