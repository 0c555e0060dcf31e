"""The draw as a throw of dice: the strip that u falls on, and a thousand throws against it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.chain import Trace
from explorer.decoding.parameters import check_count
from explorer.decoding.randomness import MAX_SEED

LEAST_EXPECTED = 5.0  # in each class of a chi-square test (Cochran 1954)


class Segment(NamedTuple):
    """The part of [0, 1) on which a draw gives this token.

    A draw falls on a token that is known: where a server did not send all, [0, 1) stands for
    those that it sent.
    """

    token_id: int
    low: float
    high: float


def segments(trace: Trace, count: int) -> tuple[Segment, ...]:
    """The first `count` segments in rank order; the rest of the strip is all other survivors.

    >>> from explorer.decoding import decode
    >>> [(s.token_id, round(s.low, 1), round(s.high, 1)) for s in segments(
    ...     decode(np.log([0.3, 0.7]), []), 5)]
    [(1, 0.0, 0.7), (0, 0.7, 1.0)]
    """
    head = trace.final.head(count)
    mass = head.probabilities[:count].cumsum()
    whole = mass[-1] if count >= len(trace.final) else trace.final.mass
    edges = np.minimum(np.concatenate(([0.0], mass / whole)), 1.0).tolist()
    return tuple(map(Segment, head.token_ids[:count].tolist(), edges, edges[1:]))


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's test that the throws follow the distribution."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


@dataclass(frozen=True, eq=False, slots=True)
class Rolls:
    """How often each survivor came, in rank order."""

    count: int
    observed: NDArray[np.int64]  # (n,)
    expected: NDArray[np.float64]  # (n,)
    test: ChiSquare | None  # None when there are fewer than two classes to compare


def roll(trace: Trace, count: int, seed: int) -> Rolls:
    """Draw `count` times from the final distribution, as `draw` would; no model is asked."""
    check_count("count", count, 1, 1_000_000)
    check_count("seed", seed, 0, MAX_SEED)
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, count], dtype=np.uint64)))
    mass = trace.final.probabilities.cumsum()
    places = np.searchsorted(mass, generator.random(count) * mass[-1], side="right")
    observed = np.bincount(places, minlength=len(mass))
    expected = count * trace.final.probabilities / mass[-1]  # of what a server sent, if not all
    return Rolls(count, observed, expected, chi_square(observed.tolist(), expected.tolist()))


def chi_square(observed: Sequence[float], expected: Sequence[float]) -> ChiSquare | None:
    """Rare classes at the end are put together until 5 are expected in each.

    >>> fair = chi_square([12, 8], [10, 10])  # a fair coin thrown 20 times
    >>> round(fair.statistic, 3), fair.degrees_of_freedom, round(fair.p_value, 4)
    (0.8, 1, 0.3711)
    """
    classes: list[tuple[float, float]] = []
    seen = hoped = 0.0
    for one, other in zip(observed, expected, strict=True):
        seen, hoped = seen + one, hoped + other
        if hoped >= LEAST_EXPECTED:
            classes.append((seen, hoped))
            seen = hoped = 0.0
    if classes and (seen or hoped):
        last_seen, last_hoped = classes.pop()
        classes.append((last_seen + seen, last_hoped + hoped))
    if len(classes) < 2:
        return None
    statistic = sum((seen - hoped) ** 2 / hoped for seen, hoped in classes)
    freedom = len(classes) - 1
    return ChiSquare(statistic, freedom, chi_square_tail(statistic, freedom))


def chi_square_tail(statistic: float, degrees_of_freedom: int) -> float:
    """P(X >= statistic): the regularised gamma function Q(k/2, x/2), a finite sum for whole k.

    Abramowitz and Stegun 26.4.4 and 26.4.5.

    >>> round(chi_square_tail(3.841, 1), 3), round(chi_square_tail(18.307, 10), 3)
    (0.05, 0.05)
    """
    half = statistic / 2
    if half <= 0:
        return 1.0
    odd = degrees_of_freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    for i in range(degrees_of_freedom // 2):
        power = i + odd / 2
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, total)
