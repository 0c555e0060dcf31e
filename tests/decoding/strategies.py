"""Hypothesis strategies for every step there is, with parameters that avoid exact equality."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    BannedSequences,
    Constraint,
    Dry,
    DynamicTemperature,
    EpsilonCutoff,
    EtaCutoff,
    FrequencyPresencePenalty,
    Greedy,
    LogitBias,
    MinP,
    MirostatV1,
    MirostatV2,
    NoRepeatNgram,
    PLess,
    QuadraticSmoothing,
    RepetitionPenalty,
    Step,
    TailFree,
    Temperature,
    TopA,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
)
from explorer.decoding.constraint import Fit

LARGEST = 40  # tokens in a vocabulary


@dataclass(frozen=True)
class Only:
    """A grammar that allows the same tokens everywhere."""

    token_ids: tuple[int, ...]
    state: Fit = "open"

    def fit(self, context: Sequence[int]) -> Fit:
        return self.state

    def allowed(self, context: Sequence[int]) -> NDArray[np.bool_]:
        return np.isin(np.arange(LARGEST), self.token_ids)


# Parts of a prime: no sum of simple probabilities ever equals one of them, 0 and 1 apart.
shares = st.integers(0, 997).map(lambda part: part / 997)
ids = st.integers(0, 14) | st.sampled_from([LARGEST, 10**6, 2**31 - 1])
contexts = st.lists(st.integers(0, 5) | ids, max_size=12).map(tuple)
windows = st.integers(0, 15)
# Off the grid of the whole logits, so that a moved token ties with no other.
amounts = st.integers(-80, 80).map(lambda part: part / 9.97)
several = st.lists(ids, max_size=4).map(tuple)
temperatures = st.integers(1, 500).map(lambda part: part / 99.7)

BY_KIND: dict[type, st.SearchStrategy[Step]] = {
    LogitBias: st.builds(LogitBias, st.dictionaries(ids, amounts | st.just(-math.inf), max_size=6)),
    BannedSequences: st.builds(
        BannedSequences, st.lists(st.lists(ids, min_size=1, max_size=3), max_size=5)
    ),
    Constraint: st.builds(
        lambda allowed, state: Constraint(regex="x").bound(Only(allowed, state)),
        st.lists(st.integers(0, LARGEST - 1), max_size=30).map(tuple),
        st.sampled_from(["open", "complete", "broken"]),
    ),
    RepetitionPenalty: st.builds(
        RepetitionPenalty, st.integers(5, 300).map(lambda part: part / 99.7), windows
    ),
    FrequencyPresencePenalty: st.builds(FrequencyPresencePenalty, amounts, amounts, windows),
    Dry: st.builds(
        Dry,
        st.integers(0, 50).map(lambda part: part / 9.97),
        st.integers(100, 400).map(lambda part: part / 99.7),
        st.integers(1, 4),
        windows,
        several,
    ),
    NoRepeatNgram: st.builds(NoRepeatNgram, st.integers(0, 6)),
    TopNSigma: st.builds(TopNSigma, st.integers(0, 500).map(lambda part: part / 99.7)),
    Temperature: st.builds(Temperature, temperatures | st.sampled_from([0, 1])),
    DynamicTemperature: st.builds(
        lambda low, wider, exponent: DynamicTemperature(low, low + wider, exponent),
        temperatures,
        temperatures,
        shares,
    ),
    QuadraticSmoothing: st.builds(
        QuadraticSmoothing,
        st.integers(0, 300).map(lambda part: part / 99.7),
        st.integers(100, 900).map(lambda part: part / 99.7),
    ),
    TopK: st.builds(TopK, st.integers(0, LARGEST + 5)),
    TopP: st.builds(TopP, shares),
    MinP: st.builds(MinP, shares),
    Typical: st.builds(Typical, shares),
    EpsilonCutoff: st.builds(EpsilonCutoff, shares),
    EtaCutoff: st.builds(EtaCutoff, shares),
    TopA: st.builds(TopA, shares),
    TailFree: st.builds(TailFree, shares),
    TopH: st.builds(TopH, shares),
    PLess: st.just(PLess()),
    Xtc: st.builds(Xtc, shares, shares),
    MirostatV1: st.builds(
        MirostatV1, temperatures, shares, st.none() | amounts, st.integers(2, 120)
    ),
    MirostatV2: st.builds(MirostatV2, temperatures, shares, st.none() | amounts),
    Greedy: st.just(Greedy()),
}
steps = st.one_of(*BY_KIND.values())
chains = st.lists(steps, max_size=6).map(tuple)

extreme_steps = (
    steps
    | st.builds(Temperature, st.sampled_from([5e-324, 1e-306, 1e-300, 1e-3, 1e6]))
    | st.builds(DynamicTemperature, st.just(0.0), st.sampled_from([0.0, 5e-324, 1e6]))
    | st.builds(RepetitionPenalty, st.sampled_from([0.01, 100.0]))
    | st.builds(QuadraticSmoothing, st.just(100.0), st.sampled_from([1.0, 3.0, 5.0, 100.0]))
    | st.builds(Dry, st.just(100.0), st.just(100.0), st.just(1))
    | st.builds(TopNSigma, st.sampled_from([5e-324, 1000.0]))
    | st.builds(Xtc, st.sampled_from([0.0, 5e-324, 0.5]))
    | st.builds(MirostatV1, st.just(100.0), st.just(1000.0), st.sampled_from([-1e6, 0.0, 1e6]))
    | st.builds(MirostatV2, st.just(100.0), st.just(1000.0), st.sampled_from([-1e6, 0.0, 1e6]))
)
extreme_chains = st.lists(extreme_steps, max_size=6).map(tuple)


def possible(row: list[float]) -> bool:
    return max(row) > -math.inf


logit_values = st.floats(-60, 60) | st.integers(-5, 5).map(float) | st.just(-math.inf)
logit_lists = st.lists(logit_values, min_size=1, max_size=LARGEST).filter(possible) | st.builds(
    lambda value, size: [value] * size, st.floats(-60, 60), st.integers(1, LARGEST)
)
whole_logits = st.lists(st.integers(-30, 30), min_size=1, max_size=LARGEST).map(
    lambda row: np.array(row, dtype=np.float64)
)


def normal_logits(seed: int, size: int, scale: float = 3.0) -> NDArray[np.float64]:
    """Tie-free, and no rule of above makes a tie of them."""
    return np.random.default_rng([seed, size]).normal(0, scale, size)


tie_free_logits = st.builds(
    normal_logits, st.integers(0, 2**32 - 1), st.integers(2, LARGEST), st.floats(0.1, 5)
)


def renamed(step: Step, new_ids: Sequence[int]) -> Step:
    """The same step for a vocabulary in which token i has become new_ids[i]."""

    def new(token_id: int) -> int:
        return new_ids[token_id] if token_id < len(new_ids) else token_id

    changed: dict[str, Any] = {}
    if isinstance(step, LogitBias):
        changed["bias"] = {new(token_id): value for token_id, value in step.bias}
    if isinstance(step, BannedSequences):
        changed["sequences"] = [[new(token_id) for token_id in row] for row in step.sequences]
    if isinstance(step, Dry):
        changed["breakers"] = [new(token_id) for token_id in step.breakers]
    if isinstance(step, Constraint):
        grammar = step.grammar
        assert isinstance(grammar, Only)
        changed["grammar"] = replace(grammar, token_ids=tuple(map(new, grammar.token_ids)))
    return replace(step, **changed)  # type: ignore[type-var]
