"""Which final probabilities are exact, and between what bounds the others lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.bans import BannedSequences, NoRepeatNgram
from explorer.decoding.candidates import Candidates
from explorer.decoding.constraint import Constraint
from explorer.decoding.distribution import Distribution
from explorer.decoding.knowledge import Knowledge
from explorer.decoding.measure import MeasuringStep
from explorer.decoding.mirostat import MirostatV1, MirostatV2
from explorer.decoding.penalties import (
    Dry,
    FrequencyPresencePenalty,
    LogitBias,
    RepetitionPenalty,
)
from explorer.decoding.step import Step
from explorer.decoding.temperature import QuadraticSmoothing, Temperature
from explorer.decoding.thresholds import EpsilonCutoff, TopA
from explorer.decoding.truncation import Greedy, MinP, TopK, TopP
from explorer.decoding.xtc import Xtc

EQUAL = 1e-9  # probabilities no further apart are one

Reason = Literal[
    "line_beyond",  # its line may lie among the tokens that were not sent
    "tail_weight",  # what it makes of their share depends on how it is spread over them
    "names_unsent",  # it changes tokens of which the probability was not sent
    "whole_vocabulary",  # it needs a number of the whole vocabulary
    "log_probabilities",  # no logits were sent: it acts on log-probabilities
]

REASONS: dict[type, Reason] = {
    **dict.fromkeys((Greedy, TopK, TopP, MinP, EpsilonCutoff, MirostatV2, Xtc), "line_beyond"),
    **dict.fromkeys((Temperature, QuadraticSmoothing), "tail_weight"),
    **dict.fromkeys(
        (
            LogitBias,
            RepetitionPenalty,
            FrequencyPresencePenalty,
            Dry,
            BannedSequences,
            NoRepeatNgram,
            Constraint,
        ),
        "names_unsent",
    ),
}

# Their lines, and what they compare with them, are told by the known tokens alone.
COMPARE_KNOWN = (Greedy, TopK, TopP, MinP, EpsilonCutoff, TopA, MirostatV2, Xtc)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A step of the chain after which not all is exact, and why."""

    number: int
    reason: Reason


@dataclass(frozen=True, eq=False, slots=True)
class Certainty:
    """How exact the final probabilities are."""

    exact: bool  # each is that of the whole vocabulary
    lowest: NDArray[np.float64] | None  # (n,) in the distribution's order; None: all was sent
    highest: NDArray[np.float64] | None
    unsent: tuple[float, float]  # share of the survivors that were not sent
    because: tuple[Doubt, ...]

    def of(self, place: int) -> tuple[float, float] | None:
        """Bounds of the token at this place of the distribution; `None` where all is exact."""
        if self.exact or self.lowest is None or self.highest is None:
            return None
        return float(self.lowest[place]), float(self.highest[place])


@dataclass(frozen=True, eq=False, slots=True)
class Followed:
    """One step, and what is certain after it; `None` where everything was sent."""

    step: Step
    acted: bool
    known: Knowledge | None


def numbers_exact(before: Knowledge | None, step: Step) -> bool:
    """Whether a step's line, and the numbers it compares, are those of the whole vocabulary.

    `before` is what is certain of what the step is given, `None` where all was sent. A step
    that compares nothing has no number that could be wrong.
    """
    if before is None or before.settled or not isinstance(step, MeasuringStep):
        return True
    if isinstance(step, MirostatV1):
        sized = before.vocab_size is not None
        return sized and before.sharp and before.ahead_of_tail()[0] >= step.m
    if isinstance(step, TopK) and step.k == 0:  # off: its line lies behind the last token
        return False
    in_front = before.ahead_of_tail()[0] == len(before.low)  # a penalty can move some behind
    return before.certain and in_front and isinstance(step, COMPARE_KNOWN)


def entropy_bounds(
    distribution: Distribution, final: Candidates, last: Knowledge | None
) -> tuple[float, float | None]:
    """Least and greatest entropy of the survivors in nats; `None`: without bound."""
    if distribution.coverage == 1.0:
        return final.entropy, final.entropy
    least, most = (last or Knowledge.of(distribution)).entropy()
    return least, None if most == math.inf else most


def judge(distribution: Distribution, final: Candidates, steps: Sequence[Followed]) -> Certainty:
    """What can be said of the end of a chain."""
    raw = not distribution.true_logits or distribution.coverage < 1
    because = [
        Doubt(number, "log_probabilities")
        for number, one in enumerate(steps)
        if raw and one.acted and isinstance(one.step, RepetitionPenalty)
    ]
    if distribution.coverage == 1.0:
        return Certainty(True, None, None, (0.0, 0.0), tuple(because))
    known = Knowledge.of(distribution)
    doubts = []
    for number, one in enumerate(steps):
        assert one.known is not None, "a partial distribution is followed through every step"
        if one.known is not known and not one.known.certain:
            doubts.append(Doubt(number, REASONS.get(type(one.step), "whole_vocabulary")))
        known = one.known
    lowest, highest = final_bounds(distribution, known)
    shown = np.zeros(len(lowest))
    shown[distribution.positions[final.token_ids]] = final.probabilities
    # Where perhaps none of what was sent survives, one token is shown all the same.
    apart = np.maximum(np.maximum(highest, shown) - np.minimum(lowest, shown), 0.0)
    exact = bool((apart <= EQUAL).all())
    return Certainty(
        exact,
        lowest,
        highest,
        _unsent(known, distribution, lowest, highest),
        tuple([*([] if exact else doubts), *because]),
    )


def _unsent(
    known: Knowledge,
    distribution: Distribution,
    lowest: NDArray[np.float64],
    highest: NDArray[np.float64],
) -> tuple[float, float]:
    if bool(np.isin(known.token_ids, distribution.token_ids).all()):
        return known.share_of_tail()
    return max(0.0, 1 - float(highest.sum())), max(0.0, 1 - float(lowest.sum()))


def final_bounds(
    distribution: Distribution, known: Knowledge
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest probability of every token that was sent, in its order."""
    least, most = known.probabilities
    lowest, highest = np.zeros((2, len(distribution.token_ids)))
    sent = np.isin(known.token_ids, distribution.token_ids)
    places = distribution.positions[known.token_ids[sent]]
    lowest[places] = np.where(known.must, least, 0.0)[sent]
    highest[places] = most[sent]
    return lowest, highest
