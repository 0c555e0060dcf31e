"""A chain of steps, and the trace it leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.decoding.bounds import follow
from explorer.decoding.candidates import Candidates
from explorer.decoding.certainty import Certainty, Followed, entropy_bounds, judge, numbers_exact
from explorer.decoding.distribution import Distribution
from explorer.decoding.knowledge import Knowledge
from explorer.decoding.mirostat import Observation
from explorer.decoding.parameters import check_real
from explorer.decoding.step import Chain, StatefulStep, Step, step_name

HEAD = 1024  # the first candidates, on which most draws fall


@dataclass(frozen=True, eq=False)
class Stage:
    """What one step did."""

    step: Step
    before: Candidates
    kept: Candidates
    known: Knowledge | None = None  # what is certain after it, where not all was sent
    exact: bool = True  # whether its line and what it compares are of the whole vocabulary

    @cached_property
    def removed(self) -> NDArray[np.int64]:
        """`(m,)` token ids that this step cut, most probable first."""
        before, kept = self.before, self.kept
        if len(kept) == len(before):
            return before.token_ids[:0]
        if before.offset is not None and kept.offset is not None:
            start = kept.offset - before.offset
            ids = before.token_ids
            return np.concatenate((ids[:start], ids[start + len(kept) :]))
        stays = np.zeros(int(before.token_ids.max()) + 1, dtype=bool)
        stays[kept.token_ids] = True
        return before.token_ids[~stays[before.token_ids]]


@dataclass(frozen=True, eq=False)
class Trace:
    """One run of a chain: what it started from and what each step left and removed."""

    distribution: Distribution
    stages: tuple[Stage, ...]

    @property
    def final(self) -> Candidates:
        """The survivors of the whole chain; the next token is drawn from these."""
        return self.stages[-1].kept if self.stages else self.distribution.candidates

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:  # (V,) 0 where cut
        """Final probability of every token, by token id.

        They sum to 1, with the share of survivors that a server did not send; which of them
        are exact then, `certainty` says.
        """
        final = np.zeros(self.distribution.size)
        final[self.final.token_ids] = self.final.probabilities
        return final

    @cached_property
    def certainty(self) -> Certainty:
        """Which of the final probabilities are exact, and what bounds the others.

        >>> from explorer.decoding import Temperature, TopP
        >>> sent = Distribution(np.arange(2), np.log([0.5, 0.3]), coverage=0.8, vocab_size=10)
        >>> decode(sent, [TopP(0.7)]).certainty.exact  # its line lies among what was sent
        True
        >>> hot = decode(sent, [Temperature(2.0)]).certainty  # how flat is the tail?
        >>> hot.exact, hot.lowest.round(2).tolist(), hot.highest.round(2).tolist()
        (False, [0.28, 0.22], [0.42, 0.32])
        """
        stages = [
            Followed(stage.step, stage.kept is not stage.before, stage.known)
            for stage in self.stages
        ]
        return judge(self.distribution, self.final, stages)

    @property
    def entropy_bounds(self) -> tuple[float, float | None]:
        """Least and greatest entropy of the survivors in nats; the greatest may be unknown."""
        last = self.stages[-1].known if self.stages else None
        return entropy_bounds(self.distribution, self.final, last)

    @cached_property
    def at_least(self) -> NDArray[np.float64]:  # (n,)
        """What each survivor has for certain of the final probability."""
        if self.distribution.coverage == 1.0:
            return self.final.probabilities
        assert self.certainty.lowest is not None
        places = self.distribution.positions[self.final.token_ids]
        return np.asarray(self.certainty.lowest[places])

    @cached_property
    def stages_that_cut(self) -> NDArray[np.int16]:  # (V,) -1 where nothing did
        """Index of the stage that removed each token, by token id."""
        cut = np.full(self.distribution.size, -1, dtype=np.int16)
        for number, stage in enumerate(self.stages):
            cut[stage.removed] = number
        return cut

    def places(self, candidates: Candidates, token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these tokens stand among the candidates of one of the stages; -1: not there."""
        start, count = candidates.offset, len(candidates)
        if start is None:
            return candidates.places_of(token_ids)
        places = self.distribution.candidates.places_of(token_ids, start + count) - start
        return np.where((places >= 0) & (places < count), places, -1)

    def stages_cutting(self, token_ids: NDArray[np.int64]) -> NDArray[np.int64]:  # (n,)
        """Index of the stage that removed each of these tokens, -1 where nothing did."""
        cutting = np.full(len(token_ids), -1, dtype=np.int64)
        for number in range(len(self.stages) - 1, -1, -1):
            stage = self.stages[number]
            if len(stage.kept) < len(stage.before):
                cutting[self.places(stage.kept, token_ids) < 0] = number
        if len(self.distribution) < self.distribution.size:
            cutting[self.distribution.positions[token_ids] < 0] = -1  # of unknown logit: by none
        return cutting

    def cut_by(self, token_id: int) -> str | None:
        """The JSON name of the step that removed this token; `None` if it survived.

        >>> from explorer.decoding.truncation import TopK
        >>> decode([3.0, 1.0, 2.0], [TopK(2)]).cut_by(1)
        'top_k'
        """
        if not 0 <= token_id < self.distribution.size:
            raise ValueError(
                f"token_id must be from 0 to {self.distribution.size - 1}, got {token_id!r}"
            )
        number = int(self.stages_that_cut[token_id])
        return None if number < 0 else step_name(self.stages[number].step)


def decode(
    logits: ArrayLike | Distribution, chain: Sequence[Step], context: Sequence[int] = ()
) -> Trace:
    """Apply the chain in order; each step sees what the one before it left.

    `logits` is an array `(V,)`, or a `Distribution` that is sorted already. `context` is
    the prefix's token ids, for the rules that look back. Raises `ValueError` for NaN, +inf
    or no finite logit.

    >>> from explorer.decoding.truncation import TopP
    >>> trace = decode(np.log([0.5, 0.3, 0.2]), [TopP(0.7)])
    >>> [(stage.step.label, stage.removed.tolist()) for stage in trace.stages]
    [('top-p', [2])]
    >>> trace.probabilities.round(3).tolist()
    [0.625, 0.375, 0.0]
    """
    distribution = logits if isinstance(logits, Distribution) else Distribution.from_logits(logits)
    candidates = distribution.candidates
    known = Knowledge.of(distribution) if distribution.coverage < 1 else None
    stages = []
    for step in chain:
        kept = step(candidates, context)
        exact = numbers_exact(known, step)
        if known is not None:
            known, kept = follow(known, step, context, candidates, kept)
        stages.append(Stage(step, candidates, kept, known, exact))
        candidates = kept
    return Trace(distribution, tuple(stages))


def draw(trace: Trace, u: float) -> int:
    """The token on which `u` in [0, 1) falls when the final distribution is laid out in rank order.

    Inverse-transform sampling: the first token whose cumulative probability exceeds u. Of a
    distribution that a server sent in part, it is drawn among the tokens that were sent, by
    their shares of what these hold: `trace.certainty.unsent` is the chance of another one.

    >>> trace = decode(np.log([0.2, 0.5, 0.3]), [])
    >>> [draw(trace, u) for u in (0.0, 0.49, 0.51, 0.79, 0.81)]
    [1, 1, 2, 2, 0]
    """
    place = place_drawn(trace, u)
    return int(trace.final.head(place + 1).token_ids[place])


def place_drawn(trace: Trace, u: float) -> int:
    """Where among the survivors the token stands that `draw` gives, from 0."""
    check_real("u", u, 0, 1)
    if u == 1:
        raise ValueError("u must be below 1, got 1")
    # Scaled by the sum, which rounding leaves a hair away from 1: the last token keeps its share.
    target = u * trace.final.mass
    mass = trace.final.head(HEAD).probabilities[:HEAD].cumsum()  # most often an early one
    if target >= mass[-1]:
        mass = trace.final.probabilities.cumsum()
    place = int(np.searchsorted(mass, target, side="right"))
    # Past the end by rounding only; a token of probability 0 is never drawn.
    last = len(trace.final)
    return place if place < last else int(np.count_nonzero(trace.final.probabilities)) - 1


def advance(chain: Chain, trace: Trace, token_id: int) -> Chain:
    """The chain for the position after `token_id`.

    Stateful steps get their next state; all others stay as they are. `trace` is what
    `decode` gave for this chain.
    """
    return tuple(
        step.advanced(stage, token_id) if isinstance(step, StatefulStep) else step
        for step, stage in zip(chain, trace.stages, strict=True)
    )


def resume(chain: Chain, last: Chain) -> Chain:
    """The chain, its stateful steps going on from where those of `last` stand.

    Steps of one kind are matched in their order. One that is new starts at its beginning,
    so a rule can be changed in the middle of a text, and its state goes on.

    >>> from explorer.decoding.mirostat import MirostatV2
    >>> resume((MirostatV2(3.0, 0.1),), (MirostatV2(5.0, 0.1, mu=9.5),))
    (MirostatV2(tau=3.0, eta=0.1, mu=9.5),)
    """
    states: dict[type, list[float | None]] = {}
    for step in last:
        if isinstance(step, StatefulStep):
            states.setdefault(type(step), []).append(step.mu)
    resumed: list[Step] = []
    for step in chain:
        waiting = states.get(type(step))
        resumed.append(replace(step, mu=waiting.pop(0)) if waiting else step)
    return tuple(resumed)


def observe(trace: Trace, token_id: int) -> tuple[Observation, ...]:
    """What each stateful step of the chain saw of this token."""
    return tuple(
        stage.step.observed(stage, token_id)
        for stage in trace.stages
        if isinstance(stage.step, StatefulStep)
    )
