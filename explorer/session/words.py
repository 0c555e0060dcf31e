"""How likely the text goes on with a word: all the ways its bytes can be cut into tokens.

A row of tokens has the product of their probabilities, each given all before it; here as sums
of logarithms, so that a word may be as improbable as it likes. The probability of a string is
the sum over every row that spells it, not that of the tokenizer's own row alone. Rows of tokens
are followed through the model, the most probable first, and what was not followed is told:
the true probability lies between what is shown and that plus `unexplored`.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from explorer.backends.base import Backend, NothingToPredict, TextNotEncodable, check_text
from explorer.decoding import Candidates, Chain, ParameterError, Trace, advance, resume
from explorer.session.tracing import trace_prefix

BATCH = 8  # prefixes that share a forward pass
BOUND = 0.01
MOST_PASSES = 8
FLOOR = math.log(1e-24)  # nats; less than this is not looked for


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Natural logarithms of probabilities, -inf for 0.

    Raw: the model's own. Final: after the chain.
    """

    raw_logprob: float
    final_logprob: float

    @property
    def raw(self) -> float:
        return math.exp(self.raw_logprob)

    @property
    def final(self) -> float:
        return math.exp(self.final_logprob)


CERTAIN = Likelihood(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The token that the word begins with, among all that could come here."""

    token_id: int
    rank: int | None  # in the raw distribution
    likelihood: Likelihood | None  # None, as the rank is, where a server does not tell
    cut_by: str | None  # the rule that cut it
    rank_above: int | None = None  # where the rank is not known: how many tokens stand before it


@dataclass(frozen=True, slots=True)
class WordReading:
    """How likely a text goes on with a word.

    `begins` is the mass of all texts that begin with the word: those that spell it with
    their next tokens exactly, and those that run past its end inside a token (" Parisian",
    where " Paris" was asked). Special tokens in between make it another text.
    """

    text: str
    canonical: tuple[int, ...] | None  # the tokenizer's own row; None where it spells another text
    first: FirstToken | None  # None where no token begins the word
    canonical_likelihood: Likelihood | None  # None without a row, room for it, or knowledge of it
    spelled: Likelihood  # all rows found
    tokenisations: int  # rows found, those of probability 0 apart
    begins: Likelihood
    unexplored: Likelihood  # what both can be short of, at most
    passes: int  # batches of prefixes that the model was asked about


def read_word(
    backend: Backend,
    prefix: tuple[int, ...],
    chain: Chain,
    start: int,
    text: str,
    *,
    bound: float = BOUND,
    most_passes: int = MOST_PASSES,
) -> WordReading:
    """How likely `text` comes after the prefix.

    `chain` is in the state it has there, and `start` is the length of the prompt, after which
    constraints begin. The canonical row is completed first, however long; then the most
    probable beginnings are followed, up to 8 in a batch, until what is left is at most `bound`
    of what is found, or below 1e-24, of raw and of final mass, or `most_passes` batches were
    asked. A prefix that fills the context is not followed.

    The canonical row is what the tokenizer makes of the text alone, BOS and what it adds at the
    end taken off. A tokenizer that writes something else, such as a space before the first
    word, has no row for the text: then only the search counts.

    Raises `ParameterError` for an empty text, `TextNotEncodable` for a lone surrogate.
    """
    if not text:
        raise ParameterError("text", text, "at least one character")
    check_text(text)
    search = _Search(backend, prefix, chain, start, text.encode())
    canonical = canonical_row(backend, text)
    row = [canonical[:end] for end in range(len(canonical))] if canonical else [()]
    row = [ids for ids in row if len(ids) <= search.room]
    for first in range(0, len(row), BATCH):
        search.follow(row[first : first + BATCH])
    while search.passes < most_passes and (batch := search.batch(bound)):
        search.follow(batch)
    return WordReading(
        text,
        canonical,
        search.first(canonical[0] if canonical else None),
        search.known(canonical) if canonical else None,
        _sum(search.complete.values()),
        sum(1 for one in search.complete.values() if _greater(one) > -math.inf),
        _sum([*search.complete.values(), *search.past]),
        search.unexplored,
        search.passes,
    )


def canonical_row(backend: Backend, text: str) -> tuple[int, ...] | None:
    """The tokenizer's own token ids for a text; `None` where they do not spell it exactly."""
    try:
        token_ids = backend.encode(text)
    except (TextNotEncodable, NothingToPredict):
        return None
    spelling = backend.spelling()
    if token_ids[:1] == (backend.info.bos_token_id,):
        token_ids = token_ids[1:]
    while token_ids and not spelling.of(token_ids[-1]):
        token_ids = token_ids[:-1]
    raws = [spelling.of(token_id) for token_id in token_ids]
    return token_ids if all(raws) and b"".join(raws) == text.encode() else None


@dataclass(order=True, slots=True)
class _Beginning:
    """Tokens that spell the first bytes of the word; the most probable sorts first."""

    order: tuple[float, int]
    token_ids: tuple[int, ...] = field(compare=False)
    length: int = field(compare=False)  # bytes of the word that they spell
    likelihood: Likelihood = field(compare=False)
    chain: Chain = field(compare=False)  # in its state after them


class _Search:
    """What is found so far, and which beginnings wait to be followed."""

    def __init__(
        self, backend: Backend, prefix: tuple[int, ...], chain: Chain, start: int, word: bytes
    ) -> None:
        self.backend, self.prefix, self.chain, self.start = backend, prefix, chain, start
        self.spelling = backend.spelling()
        self.word = word
        # A prefix that fills the context can be asked about; longer ones can't.
        self.room = max(0, backend.info.context_length - len(prefix))
        self.root: Trace | None = None
        self.complete: dict[tuple[int, ...], Likelihood] = {}
        self.past: list[Likelihood] = []  # of tokens that run past the word's end
        self.unknown: list[Likelihood] = []  # of all tokens that a server told nothing about
        self.untold: set[tuple[int, ...]] = set()  # rows that end in such a token
        self.waiting: dict[tuple[int, ...], _Beginning] = {}
        self.queue: list[_Beginning] = []
        self.stuck: list[_Beginning] = []  # at the end of the context
        self.count = self.passes = 0
        self._wait((), 0, CERTAIN, chain)

    def batch(self, bound: float) -> list[tuple[int, ...]]:
        """The most probable beginnings; none when enough is found."""
        found, left = _sum(self.complete.values()), self.unexplored
        share = math.log(bound) if bound > 0 else -math.inf
        if left.raw_logprob <= max(FLOOR, found.raw_logprob + share) and (
            left.final_logprob <= max(FLOOR, found.final_logprob + share)
        ):
            return []
        batch: list[tuple[int, ...]] = []
        while self.queue and len(batch) < BATCH:
            beginning = heapq.heappop(self.queue)
            if beginning.token_ids in self.waiting:  # the canonical row was taken out of turn
                batch.append(beginning.token_ids)
        return batch

    def follow(self, rows: Sequence[tuple[int, ...]]) -> None:
        """Ask the model what comes after these beginnings, shorter ones first."""
        self.backend.next_distributions([(*self.prefix, *ids) for ids in rows])
        self.passes += 1
        for ids in rows:
            self._look(self.waiting.pop(ids))

    def _look(self, beginning: _Beginning) -> None:
        """Find what completes the word, runs past its end, or goes on with it."""
        prefix = (*self.prefix, *beginning.token_ids)
        trace = trace_prefix(self.backend, prefix, beginning.chain, self.start)
        self.root = self.root or trace
        rest = self.word[beginning.length :]
        within, past = self.spelling.within(rest), self.spelling.past(rest)
        likelihoods = _likelihoods(trace, within)
        for token_id, likelihood in zip(within.tolist(), likelihoods, strict=True):
            ids = (*beginning.token_ids, token_id)
            length = beginning.length + len(self.spelling.of(token_id))
            together = _product(beginning.likelihood, likelihood)
            if length == len(self.word):
                self.complete[ids] = together
            else:
                after = advance(beginning.chain, trace, token_id)
                self._wait(ids, length, together, resume(self.chain, after))
        self.past.append(_product(beginning.likelihood, _together(trace, past)))
        known = trace.distribution
        if known.coverage < 1:
            hidden = 1 - float(trace.at_least.sum())
            final = math.log(hidden) if hidden > 0 else -math.inf
            kept_back = Likelihood(math.log1p(-known.coverage), final)
            self.unknown.append(_product(beginning.likelihood, kept_back))
            self.untold |= {
                (*beginning.token_ids, token_id)
                for token_id in within.tolist()
                if known.rank_of(token_id) is None
            }

    def _wait(
        self, ids: tuple[int, ...], length: int, likelihood: Likelihood, chain: Chain
    ) -> None:
        self.count += 1
        order = (-_greater(likelihood), self.count)
        beginning = _Beginning(order, ids, length, likelihood, chain)
        if len(ids) > self.room:
            self.stuck.append(beginning)
            return
        self.waiting[ids] = beginning
        if _greater(likelihood) > -math.inf:  # followed only where it is the canonical row
            heapq.heappush(self.queue, beginning)

    @property
    def unexplored(self) -> Likelihood:
        left = [*self.waiting.values(), *self.stuck]
        return _sum([*(beginning.likelihood for beginning in left), *self.unknown])

    def known(self, row: tuple[int, ...]) -> Likelihood | None:
        """Of a row that was completed, unless the probability of one of its tokens is unknown."""
        told = all(row[: end + 1] not in self.untold for end in range(len(row)))
        return self.complete.get(row) if told else None

    def first(self, token_id: int | None) -> FirstToken | None:
        """The given token at the prefix, or the longest token that the word begins with."""
        assert self.root is not None, "the prefix itself is always asked about first"
        trace = self.root
        within = self.spelling.within(self.word)
        likelihoods = dict(zip(within.tolist(), _likelihoods(trace, within), strict=True))
        if token_id is None:
            if not likelihoods:
                return None
            token_id = max(
                likelihoods,
                key=lambda one: (len(self.spelling.of(one)), _greater(likelihoods[one]), -one),
            )
        rank = trace.distribution.rank_of(token_id)
        if rank is None:
            return FirstToken(token_id, None, None, None, len(trace.distribution))
        return FirstToken(token_id, rank, likelihoods[token_id], trace.cut_by(token_id))


def _likelihoods(trace: Trace, token_ids: Any) -> list[Likelihood]:
    """Of each of these tokens, `(m,)`, as the next one; 0 for what is cut or unknown."""
    known = trace.distribution
    found = {token_id: [-math.inf, -math.inf] for token_id in token_ids.tolist()}
    for side, candidates in enumerate((known.candidates, trace.final)):
        if side == 1 and known.coverage < 1:
            inside, places = _inside(trace, candidates, token_ids)
            for token_id, least in zip(inside.tolist(), trace.at_least[places], strict=True):
                found[token_id][side] = math.log(least) if least > 0 else -math.inf
            continue
        # From the logits: a probability may be too small for a float.
        head = candidates.head(1)
        best = math.log(head.probabilities[0])
        logits = candidates.logits_of(token_ids) - head.logits[0]
        for token_id, logit in zip(token_ids.tolist(), logits.tolist(), strict=True):
            found[token_id][side] = -math.inf if math.isnan(logit) else best + logit
    return [Likelihood(raw, final) for raw, final in found.values()]


def _together(trace: Trace, token_ids: Any) -> Likelihood:
    """Of any of these tokens, `(m,)`, as the next one; there may be very many."""
    known, kept = trace.distribution, trace.final
    raw = known.candidates.probabilities_of(token_ids[token_ids < known.size]).sum()
    final = trace.at_least[_inside(trace, kept, token_ids)[1]].sum()
    return Likelihood(*(math.log(mass) if mass > 0 else -math.inf for mass in (raw, final)))


def _inside(trace: Trace, candidates: Candidates, token_ids: Any) -> tuple[Any, Any]:
    """Those of the token ids that are among the candidates, and where they stand there."""
    inside = token_ids[token_ids < trace.distribution.size]
    places = trace.places(candidates, inside)
    return inside[places >= 0], places[places >= 0]


def _product(one: Likelihood, other: Likelihood) -> Likelihood:
    return Likelihood(one.raw_logprob + other.raw_logprob, one.final_logprob + other.final_logprob)


def _greater(likelihood: Likelihood) -> float:
    return max(likelihood.raw_logprob, likelihood.final_logprob)


def _sum(likelihoods: Iterable[Likelihood]) -> Likelihood:
    listed = list(likelihoods)
    return Likelihood(
        _log_sum([one.raw_logprob for one in listed]),
        _log_sum([one.final_logprob for one in listed]),
    )


def _log_sum(logprobs: Sequence[float]) -> float:
    """The logarithm of a sum of probabilities, of which only logarithms are known."""
    highest = max(logprobs, default=-math.inf)
    if highest == -math.inf:
        return highest
    return highest + math.log(math.fsum(math.exp(one - highest) for one in logprobs))
