"""The ranked table: survivors first, then what was cut, then the rest as one row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from explorer.decoding import (
    Candidates,
    Distribution,
    Greedy,
    Temperature,
    TopK,
    TopP,
    decode,
    rank_candidates,
)

P4 = [0.1, 0.4, 0.2, 0.3]


@dataclass(frozen=True, slots=True)
class DropFirst:
    label: ClassVar[str] = "drop first"

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return Candidates(candidates.token_ids[1:], candidates.logits[1:])


def test_rows_without_a_chain() -> None:
    ranking = rank_candidates(decode(np.log(P4), []), 4)
    assert [(row.rank, row.token_id) for row in ranking.rows] == [(1, 1), (2, 3), (3, 2), (4, 0)]
    for row in ranking.rows:
        assert row.raw_probability == row.probability == pytest.approx(P4[row.token_id])
        assert row.logit == pytest.approx(math.log(P4[row.token_id]))
        assert row.cut_by is None


def test_raw_and_final_are_different_columns() -> None:
    ranking = rank_candidates(decode(np.log([0.8, 0.2]), [Temperature(0.5)]), 2)
    assert [row.raw_probability for row in ranking.rows] == pytest.approx([0.8, 0.2])
    assert [row.probability for row in ranking.rows] == pytest.approx([16 / 17, 1 / 17])
    assert [row.logit for row in ranking.rows] == pytest.approx(np.log([0.8, 0.2]))


def test_cut_tokens_follow_with_the_rule_that_cut_them() -> None:
    ranking = rank_candidates(decode(np.log(P4), [TopK(3), TopP(0.5)]), 4)
    assert [(row.token_id, row.cut_by) for row in ranking.rows] == [
        (1, None),
        (3, None),
        (2, "top_p"),
        (0, "top_k"),
    ]
    assert [row.probability for row in ranking.rows] == pytest.approx([4 / 7, 3 / 7, 0, 0])
    assert ranking.kept == 2
    assert ranking.kept_raw_probability == pytest.approx(0.7)


def test_survivors_come_before_a_more_probable_token_that_was_cut() -> None:
    ranking = rank_candidates(decode(np.log(P4), [DropFirst()]), 4)
    assert [(row.token_id, row.rank) for row in ranking.rows] == [(3, 2), (2, 3), (0, 4), (1, 1)]
    assert ranking.kept_raw_probability == pytest.approx(0.6)


def test_the_rest_is_one_row() -> None:
    ranking = rank_candidates(decode(np.log(P4), []), 1)
    assert len(ranking.rows) == 1
    assert ranking.other_count == 3
    assert ranking.other_raw_probability == pytest.approx(0.6)
    assert ranking.other_probability == pytest.approx(0.6)


def test_the_rest_of_a_cut_distribution_has_no_final_mass() -> None:
    ranking = rank_candidates(decode(np.log(P4), [Greedy()]), 2)
    assert [row.token_id for row in ranking.rows] == [1, 3]
    assert ranking.other_raw_probability == pytest.approx(0.3)
    assert ranking.other_probability == 0.0


@pytest.mark.parametrize("count", [4, 5, 1000])
def test_more_rows_than_tokens_leaves_no_rest(count: int) -> None:
    ranking = rank_candidates(decode(np.log(P4), [TopK(2)]), count)
    assert len(ranking.rows) == 4
    assert ranking.other_count == 0
    assert ranking.other_raw_probability == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("chain", [[], [TopK(10)], [TopP(0.5)], [DropFirst(), TopK(5)]])
def test_rows_and_rest_add_up(count: int, chain: list[TopK]) -> None:
    trace = decode(np.random.default_rng(1).normal(0, 3, 50), chain)
    ranking = rank_candidates(trace, count)
    raw = sum(row.raw_probability for row in ranking.rows) + ranking.other_raw_probability
    final = sum(row.probability for row in ranking.rows) + ranking.other_probability
    assert (raw, final) == pytest.approx((1, 1))
    assert len(ranking.rows) == min(count, 50)
    assert len(ranking.rows) + ranking.other_count == 50


def test_rows_are_sorted_by_final_then_raw_probability() -> None:
    trace = decode(np.random.default_rng(2).normal(0, 3, 200), [TopK(20), Temperature(3)])
    rows = rank_candidates(trace, 100).rows
    keys = [(row.probability, row.raw_probability) for row in rows]
    assert keys == sorted(keys, reverse=True)
    assert all(row.cut_by == trace.cut_by(row.token_id) for row in rows)


def test_what_a_partial_distribution_does_not_know_is_in_the_rest() -> None:
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.3, 0.1]), coverage=0.8, vocab_size=10)
    ranking = rank_candidates(decode(known, []), 10)
    assert [(row.rank, row.token_id) for row in ranking.rows] == [(1, 7), (2, 2), (3, 4)]
    assert [row.raw_probability for row in ranking.rows] == pytest.approx([0.4, 0.3, 0.1])
    assert [row.probability for row in ranking.rows] == pytest.approx([0.4, 0.3, 0.1])
    assert ranking.other_count == 7
    assert ranking.other_raw_probability == pytest.approx(0.2)
    assert ranking.other_probability == pytest.approx(0.2)
    assert {row.bounds for row in ranking.rows} == {ranking.other_bounds} == {None}
    assert ranking.kept_raw_probability == pytest.approx(0.8)


def test_a_final_probability_that_is_not_exact_comes_with_bounds() -> None:
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.3, 0.1]), coverage=0.8, vocab_size=10)
    ranking = rank_candidates(decode(known, [Temperature(2.0)]), 10)
    roots = np.sqrt([0.4, 0.3, 0.1])
    # Two tokens of 0.1 each are left at least, seven that share 0.2 evenly at most.
    gathered, even = 2 * math.sqrt(0.1), 7 * math.sqrt(0.2 / 7)
    for row, root in zip(ranking.rows, roots, strict=True):
        assert row.bounds == pytest.approx(
            (root / (roots.sum() + even), root / (roots.sum() + gathered))
        )
        assert row.bounds[0] < row.probability < row.bounds[1]
    assert ranking.other_bounds == pytest.approx(
        (gathered / (roots.sum() + gathered), even / (roots.sum() + even))
    )


def test_an_impossible_token_has_probability_0_and_is_not_called_cut() -> None:
    row = rank_candidates(decode([0.0, -math.inf], []), 2).rows[1]
    assert (row.token_id, row.raw_probability, row.probability) == (1, 0.0, 0.0)
    assert (row.logit, row.cut_by) == (-math.inf, None)
