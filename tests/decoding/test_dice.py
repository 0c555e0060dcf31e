"""The dice: the strip of a draw, and thousands of throws against SciPy's statistics."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from explorer.decoding import (
    Chain,
    Distribution,
    ParameterError,
    Segment,
    Temperature,
    TopK,
    decode,
    draw,
    roll,
    segments,
)
from explorer.decoding.dice import chi_square, chi_square_tail
from tests.decoding.strategies import chains, tie_free_logits

DRAWS = st.floats(0, 1, exclude_max=True)
FAIR = decode(np.zeros(6), [])


@given(tie_free_logits, chains)
@settings(deadline=None)
def test_the_segments_cover_the_strip_without_a_gap(
    logits: NDArray[np.float64], chain: Chain
) -> None:
    trace = decode(logits, chain)
    strip = segments(trace, len(logits))
    assert [segment.token_id for segment in strip] == trace.final.token_ids.tolist()
    assert strip[0].low == 0
    assert strip[-1].high == 1
    for one, following in pairwise(strip):
        assert one.high == following.low
    for segment in strip:
        width = segment.high - segment.low
        assert width == pytest.approx(trace.probabilities[segment.token_id], abs=1e-12)


@given(tie_free_logits, chains, st.lists(DRAWS, min_size=1, max_size=20))
@settings(deadline=None)
def test_a_draw_falls_on_the_segment_that_holds_u(
    logits: NDArray[np.float64], chain: Chain, draws: list[float]
) -> None:
    trace = decode(logits, chain)
    strip = segments(trace, len(logits))
    for u in draws:
        (hit,) = [segment for segment in strip if segment.low <= u < segment.high]
        edge = min(abs(u - hit.low), abs(u - hit.high))
        assert draw(trace, u) == hit.token_id or edge < 1e-15


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_first_segments_alone(count: int) -> None:
    trace = decode(np.log([0.1, 0.2, 0.3, 0.4]), [])
    assert segments(trace, count) == segments(trace, 4)[:count]


def test_a_strip_by_hand() -> None:
    trace = decode(np.log([0.125, 0.25, 0.5, 0.125]), [TopK(2), Temperature(0.5)])
    assert segments(trace, 9) == (
        Segment(2, 0.0, pytest.approx(0.8)),
        Segment(1, pytest.approx(0.8), 1.0),
    )


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 10, 11, 29, 30, 99, 100, 499, 500])
def test_the_tail_is_scipys(freedom: int) -> None:
    spread = math.sqrt(2 * freedom)
    statistics = [1e-9, 1e-3, 0.1, 0.5, 1, 2, 3.841, 10, 50, 100, 300, 700]
    statistics += [freedom + times * spread for times in (-0.5, 0, 0.5, 1, 2, 4, 8)]
    for statistic in filter(lambda one: one > 0, statistics):
        expected = stats.chi2.sf(statistic, freedom)
        assert chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.floats(0, 2000), st.integers(1, 400))
@settings(deadline=None)
def test_the_tail_is_scipys_everywhere(statistic: float, freedom: int) -> None:
    found = chi_square_tail(statistic, freedom)
    assert found == pytest.approx(stats.chi2.sf(statistic, freedom), rel=1e-8, abs=1e-280)
    assert 0 <= found <= 1


@pytest.mark.parametrize("freedom", [1, 2, 50])
def test_nothing_observed_is_no_surprise(freedom: int) -> None:
    assert chi_square_tail(0, freedom) == 1
    assert chi_square_tail(-1e-12, freedom) == 1  # what rounding may leave of a sum of squares


@given(st.lists(st.tuples(st.integers(5, 200), st.integers(0, 300)), min_size=2, max_size=30))
@settings(deadline=None)
def test_the_test_is_scipys_where_no_class_is_rare(pairs: list[tuple[int, int]]) -> None:
    observed = np.array([seen for _, seen in pairs], dtype=np.float64)
    weights = np.array([hoped for hoped, _ in pairs], dtype=np.float64)
    total = max(observed.sum(), weights.sum())
    observed[0] += total - observed.sum()
    expected = weights * total / weights.sum()  # at least 5 each, since total is not less
    found = chi_square(observed.tolist(), expected.tolist())
    reference = stats.chisquare(observed, expected)
    assert found is not None
    assert found.degrees_of_freedom == len(pairs) - 1
    assert found.statistic == pytest.approx(reference.statistic)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-8, abs=1e-280)


@pytest.mark.parametrize(
    ("observed", "expected", "pooled_observed", "pooled_expected"),
    [
        # Rare classes at the end go together until they hold 5.
        ([50, 30, 5, 7, 4, 4], [48, 32, 4, 4, 6, 6], [50, 30, 12, 4, 4], [48, 32, 8, 6, 6]),
        # What is left over and still rare joins the class before.
        ([50, 30, 12, 8], [48, 32, 16, 4], [50, 30, 20], [48, 32, 20]),
        ([10, 8, 1, 1], [9, 9, 1, 1], [10, 10], [9, 11]),
        # A rare class at the beginning takes what follows.
        ([1, 9, 10], [1, 9, 10], [10, 10], [10, 10]),
    ],
)
def test_rare_classes_are_put_together(
    observed: list[float],
    expected: list[float],
    pooled_observed: list[float],
    pooled_expected: list[float],
) -> None:
    found = chi_square(observed, expected)
    reference = stats.chisquare(pooled_observed, pooled_expected)
    assert found is not None
    assert found.degrees_of_freedom == len(pooled_observed) - 1
    assert found.statistic == pytest.approx(reference.statistic)
    assert found.p_value == pytest.approx(reference.pvalue)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [([], []), ([20], [20]), ([3, 1], [2, 2]), ([18, 2], [16, 4]), ([2, 2, 2], [2, 2, 2])],
)
def test_fewer_than_two_classes_are_nothing_to_test(
    observed: list[float], expected: list[float]
) -> None:
    assert chi_square(observed, expected) is None


def test_as_many_observations_as_expectations() -> None:
    with pytest.raises(ValueError, match="zip"):
        chi_square([1, 2], [3])


def test_the_same_seed_throws_the_same() -> None:
    one, again, other = roll(FAIR, 1000, 7), roll(FAIR, 1000, 7), roll(FAIR, 1000, 8)
    assert one.observed.tolist() == again.observed.tolist() != other.observed.tolist()
    assert one.test == again.test


@given(tie_free_logits, chains, st.integers(1, 3000), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_every_throw_falls_on_a_survivor(
    logits: NDArray[np.float64], chain: Chain, count: int, seed: int
) -> None:
    trace = decode(logits, chain)
    rolls = roll(trace, count, seed)
    assert rolls.count == rolls.observed.sum() == count
    assert len(rolls.observed) == len(rolls.expected) == len(trace.final)
    assert rolls.observed.min() >= 0
    assert rolls.expected == pytest.approx(count * trace.final.probabilities)
    assert not rolls.observed[trace.final.probabilities == 0].any()


def test_throws_are_draws() -> None:
    """With u taken from the same generator, `draw` gives the very same counts."""
    trace = decode(np.log([0.5, 0.3, 0.15, 0.05]), [TopK(3)])
    rolls = roll(trace, 500, 11)
    key = np.array([11, 500], dtype=np.uint64)
    numbers = np.random.Generator(np.random.Philox(key=key)).random(500)
    drawn = [draw(trace, float(u)) for u in numbers]
    expected = [drawn.count(token_id) for token_id in trace.final.token_ids.tolist()]
    assert rolls.observed.tolist() == expected


@pytest.mark.parametrize(
    "logits",
    [np.zeros(6), np.log([0.5, 0.3, 0.2]), np.log(np.arange(1, 41)), [0.0, -math.inf, 1.0]],
    ids=["fair", "three", "forty", "impossible"],
)
def test_the_p_values_of_many_rolls_are_uniform(logits: Any) -> None:
    trace = decode(logits, [])
    tests = [roll(trace, 2000, seed).test for seed in range(400)]
    p_values = [test.p_value for test in tests if test is not None]
    assert len(p_values) == 400
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_throws_at_another_distribution_are_found_out() -> None:
    rolls = roll(decode(np.log([0.5, 0.3, 0.2]), []), 2000, 3)
    wrong = chi_square(rolls.observed.tolist(), [2000 * p for p in (0.45, 0.33, 0.22)])
    assert wrong is not None
    assert wrong.p_value < 0.01
    assert rolls.test is not None
    assert rolls.test.p_value > 0.01


def test_a_sure_outcome_is_nothing_to_test() -> None:
    rolls = roll(decode([1.0, 2.0], [TopK(1)]), 100, 0)
    assert (rolls.observed.tolist(), rolls.expected.tolist(), rolls.test) == ([100], [100], None)


def test_the_dice_of_what_a_server_sent() -> None:
    known = Distribution(np.array([7, 2]), np.log([0.6, 0.2]), 0.8, 10)
    trace = decode(known, [])
    assert [segment.token_id for segment in segments(trace, 5)] == [7, 2]
    assert segments(trace, 5)[0].high == pytest.approx(0.75)
    assert roll(trace, 100, 0).expected.tolist() == pytest.approx([75, 25])


@pytest.mark.parametrize("count", [0, -1, 1_000_001, 2.0, True, None, "5", math.nan])
def test_the_number_of_throws_is_checked(count: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        roll(FAIR, count, 0)
    assert caught.value.parameter == "count"


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, True, None])
def test_the_seed_is_checked(seed: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        roll(FAIR, 10, seed)
    assert caught.value.parameter == "seed"
