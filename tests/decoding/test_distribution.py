"""Sorting the logits once: order, probabilities, entropy, ranks, and what is refused."""

import math

import numpy as np
import pytest

from explorer.decoding import Candidates, Distribution
from explorer.decoding.candidates import PART

INF, NAN = math.inf, math.nan


def partial() -> Distribution:
    """Three of ten tokens, which hold 0.8 of the mass: 0.4, 0.3 and 0.1."""
    return Distribution(np.array([7, 2, 4]), np.log([0.4, 0.3, 0.1]), coverage=0.8, vocab_size=10)


def test_the_most_probable_token_comes_first() -> None:
    distribution = Distribution.from_logits(np.log([0.1, 0.4, 0.2, 0.3]))
    assert distribution.token_ids.tolist() == [1, 3, 2, 0]
    assert distribution.probabilities == pytest.approx([0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64])
def test_ties_go_to_the_lower_token_id(dtype: type) -> None:
    logits = np.array([1, 3, 3, 1, 3], dtype=dtype)
    assert Distribution.from_logits(logits).token_ids.tolist() == [1, 2, 4, 0, 3]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_negative_zero_ties_with_zero(dtype: type) -> None:
    logits = np.array([-1.0, -0.0, 0.0, -0.0], dtype=dtype)
    assert Distribution.from_logits(logits).token_ids.tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_minus_infinity_is_a_token_of_probability_0(dtype: type) -> None:
    distribution = Distribution.from_logits(np.array([-INF, 0, -INF, 0], dtype=dtype))
    assert distribution.token_ids.tolist() == [1, 3, 0, 2]
    assert distribution.probabilities.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert distribution.entropy == pytest.approx(math.log(2))


def test_one_finite_logit_is_certain() -> None:
    distribution = Distribution.from_logits([-INF, -3.0, -INF])
    assert distribution.probabilities.tolist() == [1.0, 0.0, 0.0]
    assert distribution.entropy == 0.0


def test_a_vocabulary_of_one() -> None:
    distribution = Distribution.from_logits([-5.0])
    assert (distribution.size, distribution.probabilities.tolist()) == (1, [1.0])


def test_all_logits_equal_is_uniform() -> None:
    distribution = Distribution.from_logits(np.full(8, -2.5))
    assert distribution.token_ids.tolist() == list(range(8))
    assert distribution.probabilities.tolist() == [0.125] * 8
    assert distribution.entropy == pytest.approx(3 * math.log(2))


def test_entropy_by_hand() -> None:
    # 1/2·1 + 1/4·2 + 1/8·3 + 1/8·3 = 1.75 bits
    entropy = Distribution.from_logits(np.log([0.125, 0.5, 0.125, 0.25])).entropy
    assert entropy == pytest.approx(1.75 * math.log(2))


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 3 * PART + 5])
@pytest.mark.parametrize("impossible", [0, 1, PART, PART + 2])
def test_entropy_of_many_tokens_is_that_of_their_probabilities(size: int, impossible: int) -> None:
    logits = np.random.default_rng(size).normal(0, 4, size)
    logits[:impossible] = -INF
    logits[-1] = 0.0
    p = np.exp(logits) / np.exp(logits).sum()
    expected = -math.fsum(p[p > 0] * np.log(p[p > 0]))
    assert Distribution.from_logits(logits).entropy == pytest.approx(expected, rel=1e-12)


def test_far_apart_logits_neither_overflow_nor_vanish() -> None:
    distribution = Distribution.from_logits([0.0, 5000.0, 4999.0])
    e = math.e
    assert distribution.probabilities == pytest.approx([e / (1 + e), 1 / (1 + e), 0.0])


def test_the_input_is_left_as_it_was() -> None:
    logits = np.array([1.0, 3.0, 2.0], dtype=np.float32)
    logits.flags.writeable = False
    distribution = Distribution.from_logits(logits)
    assert distribution.logits.tolist() == [3.0, 2.0, 1.0]
    assert distribution.logits.dtype == np.float64


@pytest.mark.parametrize("bad", [NAN, -NAN, INF])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_nan_and_plus_infinity_are_refused(bad: float, place: int, dtype: type) -> None:
    logits = np.array([1, -2, -INF], dtype=dtype)
    logits[place] = bad
    with pytest.raises(ValueError, match="NaN or"):
        Distribution.from_logits(logits)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_finite_logit_is_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match="one must be finite"):
        Distribution.from_logits(np.full(3, -INF, dtype=dtype))


@pytest.mark.parametrize("logits", [[], [[1.0, 2.0]], 3.0, None, np.zeros((0, 4))])
def test_a_wrong_shape_is_refused(logits: object) -> None:
    with pytest.raises(ValueError, match=r"shape \(V,\)"):
        Distribution.from_logits(logits)  # type: ignore[arg-type]


def test_as_many_logits_as_token_ids() -> None:
    with pytest.raises(ValueError, match="2 token ids and 1 logits"):
        Distribution(np.arange(2), np.zeros(1))
    with pytest.raises(ValueError, match="at least one"):
        Distribution(np.arange(0), np.zeros(0))


@pytest.mark.parametrize("coverage", [0.0, -0.5, 1.5, NAN, INF])
def test_coverage_is_above_0_and_at_most_1(coverage: float) -> None:
    with pytest.raises(ValueError, match="coverage"):
        Distribution(np.arange(2), np.zeros(2), coverage)


def test_a_partial_distribution_knows_what_it_does_not_know() -> None:
    distribution = partial()
    assert distribution.probabilities == pytest.approx([0.4, 0.3, 0.1])
    assert distribution.probabilities.sum() == pytest.approx(0.8)
    assert distribution.entropy is None
    assert distribution.size == 10


def test_the_size_follows_the_largest_token_id_when_nothing_else_is_known() -> None:
    assert Distribution(np.array([7, 2]), np.zeros(2)).size == 8


def test_ranks_start_at_1() -> None:
    distribution = Distribution.from_logits([0.1, 0.9, 0.5])
    assert [distribution.rank_of(token_id) for token_id in range(3)] == [3, 1, 2]


@pytest.mark.parametrize("token_id", [-1, 3, 9, 10, 10**30])
def test_a_token_outside_what_is_known_has_no_rank(token_id: int) -> None:
    assert partial().rank_of(token_id) is None


def test_positions_say_where_each_token_stands() -> None:
    assert partial().positions.tolist() == [-1, -1, 1, -1, 2, -1, -1, 0, -1, -1]


def test_first_renormalises_and_copies_nothing() -> None:
    four = Candidates(np.arange(4), np.log([0.4, 0.3, 0.2, 0.1]))
    two = four.first(2)
    assert two.probabilities == pytest.approx([4 / 7, 3 / 7])
    assert np.shares_memory(two.logits, four.logits)


@pytest.mark.parametrize("count", [4, 5, 2**31])
def test_first_of_more_than_there_are_is_all(count: int) -> None:
    four = Candidates(np.arange(4), np.zeros(4))
    assert four.first(count) is four


def test_entropy_after_a_cut_is_of_the_survivors() -> None:
    four = Candidates(np.arange(4), np.log([0.3, 0.3, 0.3, 0.1]))
    assert four.first(3).entropy == pytest.approx(math.log(3))


def test_its_bytes_are_those_of_ids_and_logits_and_of_what_is_worked_out_from_them() -> None:
    assert partial().nbytes == 2 * 3 * (8 + 8)
