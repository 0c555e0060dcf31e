"""Every step at the ends of its ranges, on distributions with nothing left to choose from."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from explorer.decoding import (
    BannedSequences,
    Candidates,
    Constraint,
    Distribution,
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
    decode,
)
from tests.decoding.strategies import BY_KIND, Only

INF = math.inf
ALL = tuple(range(40))

# Each does nothing, whatever it is given.
NEUTRAL: list[Step] = [
    LogitBias({}),
    LogitBias({0: 0.0, 1: -0.0, 10**9: 5.0}),
    BannedSequences([]),
    BannedSequences([[10**9], [8, 0]]),
    Constraint(regex="x").bound(Only(ALL)),
    Constraint(regex="x").bound(Only((), "broken")),
    RepetitionPenalty(1),
    RepetitionPenalty(1.0, 3),
    FrequencyPresencePenalty(),
    FrequencyPresencePenalty(0.0, 0, 5),
    Dry(0),
    Dry(5.0, allowed_length=50),
    NoRepeatNgram(0),
    NoRepeatNgram(50),
    TopNSigma(0),
    Temperature(1),
    DynamicTemperature(1, 1),
    QuadraticSmoothing(0, 5),
    TopK(0),
    TopK(7),
    TopK(1000),
    TopP(1),
    MinP(0),
    Typical(1),
    EpsilonCutoff(0),
    EtaCutoff(0),
    TopA(0),
    TailFree(1),
    TopH(1),
    Xtc(0.1, 0.0),
    Xtc(0.51),
    MirostatV1(5, 1, 1e6),
    MirostatV2(5, 1, 1e6),
]

# Each at its strictest; what is left is one token.
STRICTEST: list[Step] = [
    LogitBias({i: -INF for i in ALL}),
    BannedSequences([[i] for i in ALL]),
    Constraint(regex="x").bound(Only(())),
    TopNSigma(5e-324),
    Temperature(0),
    DynamicTemperature(0, 0),
    TopK(1),
    TopP(0),
    TopP(5e-324),
    EpsilonCutoff(1),
    MinP(1),
    TailFree(0),
    TopH(0),
    MirostatV1(0, 1, -1e6),
    MirostatV2(0, 1, -1e6),
    MirostatV2(0, 0),
    Greedy(),
]

EXTREME: list[Step] = [
    *STRICTEST,
    LogitBias({0: 1e4, 1: -1e4, 2: -INF}),
    RepetitionPenalty(0.01),
    RepetitionPenalty(100),
    FrequencyPresencePenalty(100, 100),
    FrequencyPresencePenalty(-100, -100),
    Dry(100, 100, 1),
    NoRepeatNgram(1),
    TopNSigma(1000),
    Temperature(5e-324),
    Temperature(1e-306),
    Temperature(1e-300),
    Temperature(1e-3),
    Temperature(1e6),
    DynamicTemperature(0, 1e6),
    DynamicTemperature(5e-324, 5e-324),
    DynamicTemperature(0, 1, 100),
    QuadraticSmoothing(100),
    QuadraticSmoothing(100, 3),
    QuadraticSmoothing(100, 100),
    MinP(5e-324),
    Typical(0),
    Typical(1 - 2**-53),
    TopP(1 - 2**-53),
    EpsilonCutoff(5e-324),
    EtaCutoff(5e-324),
    EtaCutoff(1),
    TopA(5e-324),
    TopA(1),
    TailFree(1 - 2**-53),
    TopH(1),
    PLess(),
    Xtc(0),
    Xtc(0.5),
    Xtc(5e-324),
    MirostatV1(100, 1000, 1e6),
    MirostatV2(100, 1000, 1e6),
]

DISTRIBUTIONS: dict[str, list[float]] = {
    "one token": [3.0],
    "two tokens": [3.0, -1.0],
    "all equal": [2.5] * 7,
    "one possible": [-INF, -INF, 3.0, -INF],
    "some impossible": [1.0, -INF, 3.0, -INF, 2.0],
    "two equal possible": [-INF, 0.0, -INF, 0.0],
    "almost certain": [0.0, 700.0, 10.0],
    "certain in a float": [0.0, 800.0, 10.0],
    "far below 0": [-1e4, -1.1e4, -1.2e4],
    "ordinary": [0.3, 2.0, -1.0, 2.0, 0.1, -3.0, 1.0],
}


def assert_sound(logits: list[float], chain: list[Step], context: tuple[int, ...]) -> None:
    trace = decode(logits, chain, context)
    for stage in trace.stages:
        assert len(stage.kept) >= 1
        assert np.isfinite(stage.kept.logits[0])
        assert (stage.kept.logits[:-1] >= stage.kept.logits[1:]).all()
    assert math.fsum(trace.probabilities) == pytest.approx(1, abs=1e-12)
    assert trace.probabilities.min() >= 0
    assert trace.probabilities[np.array(logits) == -INF].sum() == 0
    assert 0 <= trace.final.entropy <= math.log(len(trace.final)) + 1e-9


def test_every_step_is_tried_here() -> None:
    tried = {type(step) for step in EXTREME}
    assert tried == set(BY_KIND)
    assert {type(step) for step in NEUTRAL} == set(BY_KIND) - {Greedy, PLess}


@pytest.mark.parametrize("step", EXTREME, ids=str)
def test_something_possible_survives_every_step(step: Step) -> None:
    for logits in DISTRIBUTIONS.values():
        for context in ((), (0,), (2, 2, 2, 1, 0, 2, 2, 2), (10**9, 99, 2)):
            assert_sound(logits, [step], context)


@pytest.mark.parametrize("step", EXTREME, ids=str)
def test_every_step_bears_what_a_tiny_temperature_leaves(step: Step) -> None:
    for temperature, name, context in itertools.product(
        (5e-324, 1e-306, 1e-300, 1e-160, 1e-100),
        ("ordinary", "some impossible", "all equal", "two equal possible"),
        ((), (1, 2, 1, 1, 2, 1)),
    ):
        assert_sound(DISTRIBUTIONS[name], [Temperature(temperature), step], context)


@pytest.mark.parametrize("step", STRICTEST, ids=str)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_at_its_strictest_a_rule_leaves_the_best(name: str, step: Step) -> None:
    trace = decode(DISTRIBUTIONS[name], [step])
    best = trace.distribution.token_ids[0]
    equal = np.flatnonzero(np.array(DISTRIBUTIONS[name]) == max(DISTRIBUTIONS[name]))
    if isinstance(step, MinP | TopNSigma):  # compares with the best, so its equals stay
        assert trace.final.token_ids.tolist() == equal.tolist()
    elif isinstance(step, TailFree) and name == "all equal":  # a straight line: the last goes
        assert trace.final.token_ids.tolist() == [0, 1, 2, 3, 4, 5]
    else:
        assert trace.final.token_ids.tolist() == [best]
        assert trace.probabilities[best] == 1


@pytest.mark.parametrize("step", NEUTRAL, ids=str)
def test_a_rule_that_is_off_gives_back_the_very_same_object(step: Step) -> None:
    for logits in ([0.3, 2.0, -1.0, 2.0, 0.1, -3.0, 1.0], [2.5] * 7, [3.0]):
        candidates = Distribution.from_logits(logits).candidates
        for context in ((), (0, 1, 0, 1, 2)):
            assert step(candidates, context) is candidates
        heated = decode(logits, [Temperature(0.3)]).final
        assert step(heated, (0, 1, 0, 1, 2)) is heated


@pytest.mark.parametrize(
    "step",
    [
        RepetitionPenalty(2),
        FrequencyPresencePenalty(1, 1),
        Dry(1, allowed_length=1),
        NoRepeatNgram(1),
        NoRepeatNgram(2),
        BannedSequences([[0, 1]]),
    ],
    ids=str,
)
def test_without_a_context_nothing_was_said(step: Step) -> None:
    candidates = Distribution.from_logits([1.0, 2.0, 3.0]).candidates
    assert step(candidates, ()) is candidates
    assert step(candidates, []) is candidates


@pytest.mark.parametrize("step", [step for step in EXTREME if type(step) is not Greedy], ids=str)
def test_ids_outside_the_vocabulary_are_nobodys(step: Any) -> None:
    logits = [0.3, 2.0, -1.0]
    with_unknown = decode(logits, [step], (1, 99, 2**31 - 1, 1))
    assert len(with_unknown.probabilities) == 3
    for beyond in (
        LogitBias({99: -INF, 3: 5.0, 2**31 - 1: 1.0}),
        BannedSequences([[3], [1, 2**31 - 1], [99, 3]]),
        Dry(1.0, breakers=(99, 2**31 - 1)),
    ):
        trace = decode(logits, [beyond], (1, 99, 2**31 - 1, 99))
        assert trace.final.token_ids.tolist() == [1, 0, 2]
        assert trace.final.logits.tolist() == [2.0, 0.3, -1.0]


@pytest.mark.parametrize("kind", BY_KIND, ids=[kind.__name__ for kind in BY_KIND])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_is_an_error_before_any_step(kind: type, dtype: type) -> None:
    step = next(step for step in EXTREME if type(step) is kind)
    for nan in (math.nan, -math.nan):
        for bad in ([nan, 1.0], [1.0, nan, 0.0], [nan], [INF, 1.0], [-INF, -INF], [-INF, nan]):
            with pytest.raises(ValueError, match="logits"):
                decode(np.array(bad, dtype=dtype), [step], (0,))


@pytest.mark.parametrize("step", EXTREME, ids=str)
def test_a_part_of_a_vocabulary_decodes_too(step: Step) -> None:
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.3, 0.1]), coverage=0.8, vocab_size=9)
    trace = decode(known, [step], (7, 7, 7, 5, 7))
    assert set(trace.final.token_ids.tolist()) <= {7, 2, 4}
    assert len(trace.probabilities) == 9
    assert 0 < trace.probabilities.sum() <= 1 + 1e-9
    assert trace.certainty.lowest is not None and trace.certainty.highest is not None
    assert (0 <= trace.certainty.lowest).all() and (trace.certainty.highest <= 1).all()
    assert (trace.certainty.lowest <= trace.certainty.highest).all()
    every_known = np.array([7, 2, 4])
    assert trace.stages_cutting(every_known).tolist() == trace.stages_that_cut[every_known].tolist()


@pytest.mark.parametrize("step", EXTREME, ids=str)
def test_candidates_that_know_no_vocabulary_are_enough(step: Step) -> None:
    after = step(Candidates(np.array([7, 2, 4]), np.log([0.5, 0.3, 0.2])), (7, 7, 7, 5, 7))
    assert set(after.token_ids.tolist()) <= {7, 2, 4}
    assert after.probabilities.sum() == pytest.approx(1)
