"""Dynamic temperature and quadratic smoothing by hand, and what a penalty after heat works on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    DynamicTemperature,
    FrequencyPresencePenalty,
    LogitBias,
    MinP,
    QuadraticSmoothing,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    decode,
)
from tests.decoding.strategies import temperatures, tie_free_logits

in_short = settings(max_examples=100, deadline=None)

# 1/2, 1/4, 1/8, 1/8: H = 1.75 bits of at most 2, a share of 0.875.
DYADIC = np.log([0.5, 0.25, 0.125, 0.125])


@pytest.mark.parametrize(
    ("low", "high", "exponent", "temperature"),
    [
        (0.0, 1.0, 1.0, 0.875),
        (0.5, 1.5, 1.0, 1.375),
        (0.5, 1.5, 2.0, 1.265625),  # 0.875² = 0.765625
        (0.5, 1.5, 0.0, 1.5),
        (2.0, 2.0, 3.0, 2.0),
    ],
)
def test_dynamic_temperature_follows_the_share_of_the_entropy(
    low: float, high: float, exponent: float, temperature: float
) -> None:
    step = DynamicTemperature(low, high, exponent)
    trace = decode(DYADIC, [step])
    assert step.temperature_for(trace.distribution.candidates) == pytest.approx(temperature)
    # p^(1/T), renormalised.
    powers = np.array([0.5, 0.25, 0.125, 0.125]) ** (1 / temperature)
    assert trace.probabilities == pytest.approx(powers / powers.sum())


def test_dynamic_temperature_of_an_even_distribution_is_the_high_one() -> None:
    for size in (2, 3, 1000):
        candidates = decode(np.full(size, 4.2), []).final
        assert DynamicTemperature(0.3, 2.1).temperature_for(candidates) == pytest.approx(2.1)


def test_dynamic_temperature_counts_possible_tokens_only() -> None:
    # Two even tokens among four: H = ln 2 of at most ln 2, not of ln 4.
    candidates = decode([0.0, -math.inf, 0.0, -math.inf], []).final
    assert DynamicTemperature(0.5, 1.5).temperature_for(candidates) == pytest.approx(1.5)


def test_dynamic_temperature_of_one_token_is_the_low_one() -> None:
    assert DynamicTemperature(0.5, 1.5).temperature_for(decode([3.0], []).final) == 0.5
    one = decode([3.0, -math.inf], []).final
    assert DynamicTemperature(0.5, 1.5).temperature_for(one) == 0.5


def test_dynamic_temperature_sees_what_the_rule_before_left() -> None:
    # Of 1/2 and 1/4, 2/3 and 1/3: H = 0.9183 bits of 1.
    trace = decode(DYADIC, [TopK(2), DynamicTemperature(0, 1)])
    expected = np.array([2 / 3, 1 / 3]) ** (1 / 0.9182958)
    assert trace.probabilities[:2] == pytest.approx(expected / expected.sum())


def test_a_dynamic_temperature_that_reaches_0_is_greedy() -> None:
    assert decode([0.0, 3.0, 1.0], [DynamicTemperature(0, 0)]).final.token_ids.tolist() == [1]
    certain = [0.0, -math.inf]
    assert decode(certain, [DynamicTemperature(0, 5)]).final.token_ids.tolist() == [0]


@in_short
@given(tie_free_logits, temperatures, temperatures, st.integers(0, 300).map(lambda n: n / 99.7))
def test_dynamic_temperature_is_its_definition(
    logits: NDArray[np.float64], low: float, wider: float, exponent: float
) -> None:
    p = np.exp(logits - logits.max())
    p /= p.sum()
    entropy = -math.fsum(q * math.log(q) for q in p)
    t = low + wider * (entropy / math.log(len(p))) ** exponent
    powers = np.exp((logits - logits.max()) / t)
    trace = decode(logits, [DynamicTemperature(low, low + wider, exponent)])
    assert trace.probabilities == pytest.approx(powers / powers.sum(), rel=1e-6, abs=1e-12)


def smoothed(logits: NDArray[np.float64], factor: float, curve: float) -> NDArray[np.float64]:
    """text-generation-webui's `QuadraticSamplingLogitsWarper`."""
    most = logits.max()
    diff = logits - most
    k, s = (3 - curve) / 2, (curve - 1) / 2
    with np.errstate(invalid="ignore"):  # -inf
        bent = -(k * factor * diff**2) + (s * factor * diff**3) + most
    return np.where(logits != -np.inf, bent, logits)


@pytest.mark.parametrize(
    ("factor", "curve", "logits"),
    [
        # d = 0, -1, -2. Parabola only: -f d².
        (0.5, 1.0, [3.0, 2.5, 1.0]),
        # Half and half, k = s = 1/2: d = -1: -1/2 - 1/2; d = -2: -2 - 4.
        (1.0, 2.0, [3.0, 2.0, -3.0]),
        # Cubic only, k = 0, s = 1: -1 and -8.
        (1.0, 3.0, [3.0, 2.0, -5.0]),
        # k = -1/2, s = 3/2: d = -1: +1/2 - 3/2; d = -2: +2 - 12.
        (1.0, 4.0, [3.0, 2.0, -7.0]),
    ],
)
def test_quadratic_smoothing_by_hand(factor: float, curve: float, logits: list[float]) -> None:
    trace = decode([3.0, 2.0, 1.0], [QuadraticSmoothing(factor, curve)])
    assert trace.final.logits == pytest.approx(logits)
    assert trace.final.token_ids.tolist() == [0, 1, 2]


def test_a_curve_above_3_lets_a_close_rival_overtake() -> None:
    # curve 5: k = -1, s = 2. d = -0.25: 0.0625 - 0.03125 = +0.03125; d = -0.5: 0.25 - 0.25 = 0,
    # a tie with the best; d = -1: 1 - 2 = -1.
    logits = [1.0, 0.75, 0.5, 0.0]
    final = decode(logits, [QuadraticSmoothing(1, 5)]).final
    assert final.token_ids.tolist() == [1, 0, 2, 3]
    assert final.logits == pytest.approx([1.03125, 1.0, 1.0, 0.0])
    trace = decode(logits, [QuadraticSmoothing(1, 5), TopK(1), TopP(0.5)])
    assert [trace.cut_by(i) for i in range(4)] == ["top_k", None, "top_k", "top_k"]
    assert trace.stages_cutting(np.arange(4)).tolist() == [1, -1, 1, 1]


@in_short
@given(
    tie_free_logits,
    st.integers(1, 500).map(lambda n: n / 99.7),
    st.integers(100, 1000).map(lambda n: n / 99.7),
)
def test_quadratic_smoothing_is_text_generation_webuis(
    logits: NDArray[np.float64], factor: float, curve: float
) -> None:
    logits[1:2] = -np.inf
    final = decode(logits, [QuadraticSmoothing(factor, curve)]).final
    expected = smoothed(logits, factor, max(1.0, curve))
    assert final.logits == pytest.approx(expected[final.token_ids], rel=1e-9)
    assert sorted(final.token_ids.tolist()) == list(range(len(logits)))
    assert final.logits[0] == pytest.approx(expected.max())


def test_a_penalty_after_a_temperature_works_on_the_divided_logits() -> None:
    # 3 / 0.5 = 6, halved 3; 1 / 0.5 = 2: one apart. Shifted to a best of 0, as for a softmax,
    # the penalty would do nothing to 0, and four would be between them.
    trace = decode([1.0, 3.0], [Temperature(0.5), RepetitionPenalty(2)], [1])
    assert trace.probabilities == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert trace.final.logits == pytest.approx([3.0, 2.0])
    # -1 / 0.5 = -2, doubled -4.
    trace = decode([1.0, -1.0], [Temperature(0.5), RepetitionPenalty(2)], [1])
    assert trace.final.logits == pytest.approx([2.0, -4.0])


def test_a_penalty_after_a_dynamic_temperature_works_on_the_divided_logits() -> None:
    chain = [DynamicTemperature(0.5, 0.5), RepetitionPenalty(2)]
    assert decode([1.0, 3.0], chain, [1]).final.logits == pytest.approx([3.0, 2.0])


def test_what_is_cut_between_temperature_and_penalty_changes_no_logit() -> None:
    chain = [Temperature(0.5), TopK(3), MinP(1e-9), RepetitionPenalty(2)]
    trace = decode([1.0, 3.0, -5.0, -1.0], chain, [1, 3])
    assert trace.final.token_ids.tolist() == [1, 0, 3]
    assert trace.final.logits == pytest.approx([3.0, 2.0, -4.0])


def test_a_bias_before_a_temperature_is_divided_and_after_it_is_not() -> None:
    logits, bias, heat = [0.0, 0.0], LogitBias({0: 1.0}), Temperature(0.5)
    assert np.diff(decode(logits, [bias, heat]).final.logits) == pytest.approx(-2)
    assert np.diff(decode(logits, [heat, bias]).final.logits) == pytest.approx(-1)
    presence = FrequencyPresencePenalty(0, 1)
    assert np.diff(decode(logits, [presence, heat], [0]).final.logits) == pytest.approx(-2)
    assert np.diff(decode(logits, [heat, presence], [0]).final.logits) == pytest.approx(-1)


@in_short
@given(tie_free_logits, temperatures, temperatures)
def test_two_temperatures_are_their_product(
    logits: NDArray[np.float64], one: float, other: float
) -> None:
    twice = decode(logits, [Temperature(one), Temperature(other)]).probabilities
    once = decode(logits, [Temperature(one * other)]).probabilities
    assert twice == pytest.approx(once, rel=1e-6, abs=1e-12)
