"""What holds for every distribution and every chain."""

import itertools
import json
import math
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    Chain,
    Distribution,
    Greedy,
    MinP,
    Temperature,
    TopK,
    TopP,
    chain_from_json,
    chain_to_json,
    decode,
    draw,
    rank_candidates,
)

in_short = settings(max_examples=100, deadline=None)

shares = st.floats(0, 1) | st.sampled_from([0, 1, 0.5, 0.9, 1e-300])
steps = st.one_of(
    st.just(Greedy()),
    st.builds(TopK, st.integers(0, 50)),
    st.builds(TopP, shares),
    st.builds(MinP, shares),
    st.builds(Temperature, st.floats(0, 100) | st.sampled_from([0, 1, 1e-3, 1e-300, 5e-324])),
)
chains = st.lists(steps, max_size=5).map(tuple)
values = st.floats(-60, 60) | st.sampled_from([-math.inf, 0.0, -0.0, 1.0])
logit_lists = st.lists(values, min_size=1, max_size=40).filter(lambda row: max(row) > -math.inf)
whole_logits = st.lists(st.integers(-30, 30), min_size=1, max_size=40).map(
    lambda row: np.array(row, dtype=np.float64)
)
tie_free_logits = st.lists(
    st.integers(-500, 500).map(lambda value: value / 8), min_size=2, max_size=40, unique=True
)
draws = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 0.5, math.nextafter(1, 0)])


@in_short
@given(logit_lists, chains)
def test_something_survives_and_the_final_distribution_sums_to_1(
    logits: list[float], chain: Chain
) -> None:
    trace = decode(logits, chain)
    assert all(len(stage.kept) >= 1 for stage in trace.stages)
    assert math.isclose(math.fsum(trace.probabilities), 1, abs_tol=1e-12)
    assert trace.probabilities.min() >= 0
    assert trace.final.token_ids[0] == trace.distribution.token_ids[0]


@in_short
@given(logit_lists, chains)
def test_kept_and_removed_are_disjoint_and_complete(logits: list[float], chain: Chain) -> None:
    trace = decode(logits, chain)
    parts = [trace.final.token_ids.tolist(), *(stage.removed.tolist() for stage in trace.stages)]
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(len(logits)))
    for token_id in range(len(logits)):
        if trace.cut_by(token_id) is not None:
            assert trace.probabilities[token_id] == 0


@in_short
@given(logit_lists, chains)
def test_every_stage_stays_sorted(logits: list[float], chain: Chain) -> None:
    for stage in decode(logits, chain).stages:
        assert (stage.kept.logits[:-1] >= stage.kept.logits[1:]).all()
        assert not np.isnan(stage.kept.logits).any()


@in_short
@given(tie_free_logits, chains, st.randoms(use_true_random=False))
def test_permuting_the_ids_permutes_the_result(
    logits: list[float], chain: Chain, random: Random
) -> None:
    order = list(range(len(logits)))
    random.shuffle(order)
    permuted = decode(np.array(logits)[order], chain).probabilities
    np.testing.assert_array_equal(permuted, decode(logits, chain).probabilities[order])


@in_short
@given(whole_logits, chains, st.integers(-1000, 1000))
def test_adding_a_constant_changes_nothing(
    logits: NDArray[np.float64], chain: Chain, constant: int
) -> None:
    before, after = decode(logits, chain), decode(logits + constant, chain)
    np.testing.assert_array_equal(after.final.token_ids, before.final.token_ids)
    np.testing.assert_allclose(after.probabilities, before.probabilities, rtol=1e-12)


@in_short
@given(tie_free_logits, st.floats(1e-3, 100))
def test_temperature_keeps_the_order_and_all_tokens(
    logits: list[float], temperature: float
) -> None:
    trace = decode(logits, [Temperature(temperature)])
    np.testing.assert_array_equal(trace.final.token_ids, trace.distribution.token_ids)
    probabilities = trace.final.probabilities
    assert (probabilities[:-1] >= probabilities[1:]).all()


@in_short
@given(tie_free_logits, st.floats(0.01, 0.99), st.floats(1.01, 100))
def test_a_lower_temperature_is_sharper(logits: list[float], low: float, high: float) -> None:
    sharp, plain, flat = (
        decode(logits, [Temperature(temperature)]).final for temperature in (low, 1, high)
    )
    assert sharp.entropy <= plain.entropy + 1e-9
    assert plain.entropy <= flat.entropy + 1e-9


@in_short
@given(logit_lists, st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_rule_keeps_no_more(logits: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert len(decode(logits, [TopP(low)]).final) <= len(decode(logits, [TopP(high)]).final)
    assert len(decode(logits, [MinP(high)]).final) <= max(len(decode(logits, [MinP(low)]).final), 1)


@in_short
@given(logit_lists, st.floats(0.01, 0.99))
def test_the_nucleus_is_the_smallest_that_reaches_p(logits: list[float], p: float) -> None:
    trace = decode(logits, [TopP(p)])
    raw = trace.distribution.probabilities[: len(trace.final)]
    assert math.fsum(raw) >= p - 1e-12
    assert math.fsum(raw[:-1]) < p + 1e-12


@in_short
@given(logit_lists, chains, draws)
def test_draw_follows_the_inverse_of_the_cumulative_distribution(
    logits: list[float], chain: Chain, u: float
) -> None:
    trace = decode(logits, chain)
    token_id = draw(trace, u)
    probabilities = trace.final.probabilities.tolist()
    place = trace.final.token_ids.tolist().index(token_id)
    assert probabilities[place] > 0
    assert math.fsum(probabilities[:place]) <= u + 1e-12
    assert u < math.fsum(probabilities[: place + 1]) + 1e-12


@in_short
@given(logit_lists, chains, draws, draws)
def test_a_larger_u_never_draws_a_token_of_better_rank(
    logits: list[float], chain: Chain, one: float, other: float
) -> None:
    trace = decode(logits, chain)
    ranks = [trace.distribution.rank_of(draw(trace, u)) for u in sorted((one, other))]
    assert ranks == sorted(ranks, key=lambda rank: rank or 0)


@in_short
@given(chains)
def test_a_chain_survives_json(chain: Chain) -> None:
    assert chain_from_json(json.loads(json.dumps(chain_to_json(chain)))) == chain


@in_short
@given(logit_lists, chains, st.integers(1, 60))
def test_a_ranking_adds_up(logits: list[float], chain: Chain, count: int) -> None:
    trace = decode(logits, chain)
    ranking = rank_candidates(trace, count)
    assert len(ranking.rows) == min(count, len(logits))
    assert len({row.token_id for row in ranking.rows}) == len(ranking.rows)
    raw = math.fsum(row.raw_probability for row in ranking.rows)
    assert math.isclose(raw + ranking.other_raw_probability, 1, abs_tol=1e-9)
    survivors = sum(row.cut_by is None for row in ranking.rows)
    assert survivors == min(ranking.kept, len(ranking.rows))


float32s = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, -0.0, -math.inf, 1.0, -1.0, 1e-45, -1e-45]
)


def stable_order(values: NDArray[np.float32]) -> list[int]:
    return sorted(range(len(values)), key=lambda place: (-float(values[place]), place))


@in_short
@given(st.lists(float32s, min_size=1, max_size=200).filter(lambda row: max(row) > -math.inf))
def test_float32_is_sorted_as_a_stable_sort_does(row: list[float]) -> None:
    logits = np.array(row, dtype=np.float32)
    assert Distribution.from_logits(logits).token_ids.tolist() == stable_order(logits)


@in_short
@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), st.sampled_from([1, 4, 64]))
def test_many_ties_in_float32_are_sorted_as_numpy_does(seed: int, size: int, grid: int) -> None:
    random = np.random.default_rng(seed)
    logits = (np.round(random.normal(0, 3, size) * grid) / grid).astype(np.float32)
    logits[random.random(size) < 0.05] = -np.inf
    logits[0] = -0.0
    ours = Distribution.from_logits(logits).token_ids
    np.testing.assert_array_equal(ours, np.argsort(-logits, kind="stable"))


def test_a_whole_vocabulary_in_float32_is_sorted_as_numpy_does() -> None:
    logits = np.random.default_rng(0).normal(0, 4, 262_144).astype(np.float16).astype(np.float32)
    ours = Distribution.from_logits(logits).token_ids
    np.testing.assert_array_equal(ours, np.argsort(-logits, kind="stable"))
