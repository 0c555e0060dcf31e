"""A model on a server: what came back of its probabilities, and how much of them that is."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.backends.base import (
    Continuations,
    Message,
    ModelInfo,
    ScoredToken,
    Token,
    check_prefix,
    check_token_id,
    continuations_from,
    score_from,
)
from explorer.backends.grammar import GrammarMaker
from explorer.backends.prefix_memory import Prefix, PrefixMemory
from explorer.backends.remote_calls import SharedCalls
from explorer.backends.remote_server import not_understood
from explorer.decoding import Constraint, Distribution, Grammar, Spelling

# How the tokens of a text can be scored: all in one request, each by a request of its own, or
# only those whose distribution was asked for anyway.
Scoring = Literal["at once", "one by one", "as known"]

ALMOST_ALL = float(np.nextafter(1.0, 0.0))  # the most that a part of the vocabulary can cover
ROUNDING = 0.02  # by which float32 logprobs of a whole vocabulary may add up to more than 1


@dataclass(frozen=True, eq=False, slots=True)
class Sent:
    """The logprobs that a server sent after one prefix, in any order."""

    token_ids: NDArray[np.int64]  # (n,)
    logprobs: NDArray[np.float64]  # (n,)

    def checked(self, vocab_size: int) -> "Sent":
        """Itself, if it is what it claims to be; `RemoteFailed` otherwise."""
        ids = self.token_ids
        if len(ids) == 0 or ids.min() < 0 or ids.max() >= vocab_size:
            raise not_understood(f"token ids are not from 0 to {vocab_size - 1}")
        if len(np.unique(ids)) != len(ids):
            raise not_understood("it holds a token twice")
        mass = float(np.exp(self.logprobs).sum())
        if not 0 < mass <= 1 + ROUNDING:
            raise not_understood(f"probabilities add up to {mass:.3g}; raw logprobs are needed")
        return self

    def first(self, count: int) -> "Sent":
        """The `count` most probable, most probable first, ties by lower token id."""
        order = np.lexsort((self.token_ids, -self.logprobs))[:count]
        return Sent(self.token_ids[order], self.logprobs[order])

    def distribution(self, vocab_size: int) -> Distribution:
        """Whole where all tokens came; otherwise these tokens and the mass they hold."""
        best = self.first(vocab_size)
        whole = len(best.token_ids) == vocab_size
        mass = float(np.exp(best.logprobs).sum())
        return Distribution(
            best.token_ids,
            best.logprobs,
            1.0 if whole else min(mass, ALMOST_ALL),
            vocab_size,
            true_logits=False,
        )


class Dialect(Protocol):
    """How one kind of server is asked. Safe to share among threads."""

    scoring: Scoring
    at_most: int  # logprobs that the server gives after one prefix

    @property
    def info(self) -> ModelInfo: ...

    def encode(self, text: str) -> tuple[int, ...]: ...

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]: ...

    def token(self, token_id: int) -> Token: ...

    def tokens(self) -> Iterator[Token]: ...

    def after_each(self, prefixes: Sequence[Prefix], count: int) -> list[Sent]:
        """The `count` best after each prefix, or fewer; in as few requests as it can."""
        ...

    def score(self, prefix: Prefix) -> tuple[tuple[ScoredToken, ...], Sent]:
        """The tokens of a text scored at once, and what comes after it."""
        ...


class RemoteBackend:
    """Asks a server once for each prefix; concurrent users of a prefix share one request.

    Nothing is kept of a request that failed, so all works again when the server is back.
    """

    def __init__(self, dialect: Dialect, memory: PrefixMemory) -> None:
        self.dialect = dialect
        self._memory = memory
        self._grammars = GrammarMaker(dialect.info, dialect.tokens)
        self._spelling: Spelling | None = None
        self._indexing = threading.Lock()
        self._distributions: SharedCalls[Prefix, Distribution] = SharedCalls()
        self._continuations: SharedCalls[tuple[Prefix, int], Continuations] = SharedCalls()
        self._scores: SharedCalls[Prefix, tuple[ScoredToken, ...]] = SharedCalls()

    @property
    def info(self) -> ModelInfo:
        return self.dialect.info

    def encode(self, text: str) -> tuple[int, ...]:
        return self.dialect.encode(text)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self.dialect.encode_chat(messages)

    def token(self, token_id: int) -> Token:
        check_token_id(token_id, self.info)
        return self.dialect.token(token_id)

    def spelling(self) -> Spelling:
        with self._indexing:
            if self._spelling is None:
                tokens = self.dialect.tokens()
                self._spelling = Spelling(None if one.special else one.raw for one in tokens)
            return self._spelling

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        return self._grammars.make(constraint, start)

    def next_distribution(self, prefix: Prefix) -> Distribution:
        return self.next_distributions([prefix])[0]

    def next_distributions(self, prefixes: Sequence[Prefix]) -> tuple[Distribution, ...]:
        for prefix in prefixes:
            check_prefix(prefix, self.info)

        def ask(missing: list[Prefix]) -> dict[Prefix, Distribution]:
            sent = self.dialect.after_each(missing, self.dialect.at_most)
            return {
                prefix: self._keep(prefix, one) for prefix, one in zip(missing, sent, strict=True)
            }

        found = self._distributions.share(prefixes, self._known_distribution, ask)
        return tuple(found[prefix] for prefix in prefixes)

    def continuations(self, prefixes: Sequence[Prefix], count: int) -> tuple[Continuations, ...]:
        count = min(count, self.info.vocab_size)
        for prefix in prefixes:
            check_prefix(prefix, self.info)

        def recall(wanted: tuple[Prefix, int]) -> Continuations | None:
            prefix, _ = wanted
            known: Continuations | None = self._recall("continuations", prefix)
            if known is not None and len(known.token_ids) >= min(count, self.dialect.at_most):
                return Continuations(known.token_ids[:count], known.logprobs[:count])
            distribution = self._known_distribution(prefix)
            return None if distribution is None else continuations_from(distribution, count)

        def ask(missing: list[tuple[Prefix, int]]) -> dict[tuple[Prefix, int], Continuations]:
            found = {}
            most = min(count, self.dialect.at_most)
            sent = self.dialect.after_each([prefix for prefix, _ in missing], most)
            for wanted, one in zip(missing, sent, strict=True):
                best = one.checked(self.info.vocab_size).first(count)
                found[wanted] = Continuations(
                    tuple(best.token_ids.tolist()), tuple(best.logprobs.tolist())
                )
                self._memory.put("continuations", self.info.model_id, wanted[0], found[wanted])
            return found

        wanted = [(prefix, count) for prefix in prefixes]
        answers = self._continuations.share(wanted, recall, ask)
        return tuple(answers[one] for one in wanted)

    def score(self, prefix: Prefix) -> tuple[ScoredToken, ...]:
        check_prefix(prefix, self.info)
        if self.dialect.scoring == "as known":
            return self._score_as_known(prefix)
        found = self._scores.share(
            [prefix],
            lambda one: self._memory.scores(self.info.model_id, one),
            lambda missing: {one: self._score(one) for one in missing},
        )
        return found[prefix]

    def _score(self, prefix: Prefix) -> tuple[ScoredToken, ...]:
        if self.dialect.scoring == "at once":
            scored, sent = self.dialect.score(prefix)
            self._keep(prefix, sent)
        else:
            beginnings = [prefix[:end] for end in range(1, len(prefix))]
            following = zip(self.next_distributions(beginnings), prefix[1:], strict=True)
            scored = (ScoredToken(prefix[0]), *(score_from(*pair) for pair in following))
        self._memory.put("scores", self.info.model_id, prefix, scored)
        return scored

    def _score_as_known(self, prefix: Prefix) -> tuple[ScoredToken, ...]:
        scored = [ScoredToken(prefix[0])]
        for end in range(1, len(prefix)):
            known = self._known_distribution(prefix[:end])
            token_id = prefix[end]
            scored.append(ScoredToken(token_id) if known is None else score_from(known, token_id))
        return tuple(scored)

    # memory

    def _recall(self, kind: str, prefix: Prefix) -> Any:
        return self._memory.get(kind, self.info.model_id, prefix)

    def _known_distribution(self, prefix: Prefix) -> Distribution | None:
        distribution: Distribution | None = self._recall("distribution", prefix)
        return distribution

    def _keep(self, prefix: Prefix, sent: Sent) -> Distribution:
        """Remember what came first: what was shown once stays."""
        known = self._known_distribution(prefix)
        if known is None:
            size = self.info.vocab_size
            known = sent.checked(size).distribution(size)
            self._memory.put("distribution", self.info.model_id, prefix, known)
        return known
