"""A vocabulary that is put in order as far as somebody looks gives what a sorted one gives."""

import gc
import math
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    PRESETS,
    Candidates,
    Chain,
    Distribution,
    FrequencyPresencePenalty,
    LogitBias,
    MinP,
    RepetitionPenalty,
    Step,
    Temperature,
    TopK,
    TopP,
    Trace,
    Xtc,
    curve,
    decode,
    draw,
    ledger,
    observe,
    rank_candidates,
    roll,
    segments,
    ticks,
)
from explorer.decoding import head_first as module
from explorer.decoding.distribution import LARGE, Unsorted
from explorer.decoding.head_first import FEW, FIRST, SAMPLED, HeadFirst, Order
from tests.decoding.strategies import (
    BY_KIND,
    LARGEST,
    chains,
    contexts,
    extreme_chains,
    possible,
)

# Few different values, so that many tie; both zeros; tokens that are impossible.
logit_values = st.floats(-8, 8, width=32) | st.sampled_from([-math.inf, -3.5, -0.0, 0.0, 2.0])
logit_rows = (
    st.lists(logit_values, min_size=1, max_size=LARGEST)
    .filter(possible)
    .map(lambda row: np.array(row, dtype=np.float32))
)
firsts = st.integers(1, 6)
near = {"rel": 1e-9, "abs": 1e-12}


def both(values: NDArray[np.float32], first: int) -> tuple[Distribution, Distribution]:
    """Of the same logits: with the first ones in order, and sorted by Python."""
    sooner = Unsorted(HeadFirst(Order.of(values, min(first, len(values)))))
    order = sorted(range(len(values)), key=lambda token_id: (-values[token_id], token_id))
    whole = Distribution(
        np.array(order), values[order].astype(np.float64) + 0.0, vocab_size=len(order)
    )
    return sooner, whole


def same(ours: Candidates, expected: Candidates) -> None:
    assert len(ours) == len(expected)
    assert ours.entropy == pytest.approx(expected.entropy, **near)
    for count in (1, 3, len(expected)):
        head, sorted_head = ours.head(count), expected.head(count)
        until = min(count, len(expected))
        assert head.token_ids[:until].tolist() == sorted_head.token_ids[:until].tolist()
        assert head.logits[:until] == pytest.approx(sorted_head.logits[:until], **near)
        assert head.probabilities[:until] == pytest.approx(
            sorted_head.probabilities[:until], **near
        )
    every_id = np.arange(LARGEST + 2)
    assert ours.places_of(every_id).tolist() == expected.places_of(every_id).tolist()
    assert ours.logits_of(every_id) == pytest.approx(
        expected.logits_of(every_id), nan_ok=True, **near
    )
    assert ours.probabilities_of(every_id) == pytest.approx(
        expected.probabilities_of(every_id), **near
    )
    for token_id in (0, 1, LARGEST + 1):
        assert ours.place_of(token_id) == expected.place_of(token_id)
    assert ours.lowest == pytest.approx(expected.lowest)
    assert ours.token_ids.tolist() == expected.token_ids.tolist()
    assert ours.positions.tolist() == expected.positions.tolist()
    assert ours.logits == pytest.approx(expected.logits, **near)
    assert ours.probabilities == pytest.approx(expected.probabilities, **near)


@settings(max_examples=150, deadline=None)
@given(logit_rows, firsts)
def test_the_raw_distribution(values: NDArray[np.float32], first: int) -> None:
    ours, expected = both(values, first)
    assert (len(ours), ours.size, ours.coverage) == (len(expected), expected.size, 1.0)
    assert ours.entropy == pytest.approx(expected.entropy, **near)
    for token_id in range(-1, len(values) + 1):
        assert ours.rank_of(token_id) == expected.rank_of(token_id)
        if token_id >= 0:
            assert ours.logit_of(token_id) == pytest.approx(
                expected.logit_of(token_id), nan_ok=True
            )
            assert ours.probability_of(token_id) == pytest.approx(
                expected.probability_of(token_id), **near
            )
    same(ours.candidates, expected.candidates)
    assert ours.token_ids.tolist() == expected.token_ids.tolist()
    assert ours.logits.tolist() == expected.logits.tolist()
    assert ours.probabilities == pytest.approx(expected.probabilities, **near)


# No u of these is a sum of simple probabilities, where rounding would decide.
def looked_at(trace: Trace, context: tuple[int, ...]) -> list[Any]:
    """What the page reads off a trace."""
    shown = rank_candidates(trace, 7)
    tokens = [row.token_id for row in shown.rows]
    return [
        [(row.rank, row.token_id, row.cut_by) for row in shown.rows],
        [(row.logit, row.raw_probability, row.probability) for row in shown.rows],
        (shown.kept, shown.other_count),
        (shown.kept_raw_probability, shown.other_raw_probability, shown.other_probability),
        [[*row.probabilities, row.cut_at] for row in ledger(trace, tokens)],
        [(part.token_id, part.low, part.high) for part in segments(trace, 5)],
        [draw(trace, u) for u in (0.0, 0.01237, 0.49871, 0.98713)],
        [
            # Where the mass before a token is 1 but for rounding, it may be exactly 1, and none.
            [(t.value, t.token_id, t.kept) for t in ticks(stage) if abs(t.value - 1) > 1e-9]
            for stage in trace.stages
        ],
        [shapes[0].tolist() for stage in trace.stages if (shapes := curve(stage)) is not None],
        [(seen.surprise, seen.kept, seen.next_mu) for seen in observe(trace, tokens[0])],
        roll(trace, 10, 3).expected.tolist(),
    ]


def alike(ours: Any, expected: Any) -> bool:
    if isinstance(expected, list | tuple):
        return len(ours) == len(expected) and all(map(alike, ours, expected))
    if isinstance(expected, float):
        return bool(ours == pytest.approx(expected, rel=1e-4, abs=1e-9))
    return bool(ours == expected)


def check(values: NDArray[np.float32], first: int, chain: Chain, context: tuple[int, ...]) -> None:
    ours, expected = (decode(one, chain, context) for one in both(values, first))
    # What differs in the last bit may stand on the other side of a line; then so may all behind.
    for stage, sorted_stage in zip(ours.stages, expected.stages, strict=True):
        assume(len(stage.kept) == len(sorted_stage.kept))
    for one, other in zip(looked_at(ours, context), looked_at(expected, context), strict=True):
        assert alike(one, other)
    every_id = np.arange(len(values))
    assert ours.stages_cutting(every_id).tolist() == expected.stages_cutting(every_id).tolist()
    for stage, sorted_stage in zip(ours.stages, expected.stages, strict=True):
        same(stage.kept, sorted_stage.kept)
        assert stage.removed.tolist() == sorted_stage.removed.tolist()


@pytest.mark.parametrize("kind", BY_KIND, ids=[kind.__name__ for kind in BY_KIND])
def test_each_step_alone(kind: type) -> None:
    @settings(max_examples=60, deadline=None)
    @given(logit_rows, firsts, BY_KIND[kind], contexts)
    def run(values: NDArray[np.float32], first: int, step: Step, context: tuple[int, ...]) -> None:
        check(values, first, (step,), context)

    run()


@settings(max_examples=250, deadline=None)
@given(logit_rows, firsts, chains, contexts)
def test_every_chain(
    values: NDArray[np.float32], first: int, chain: Chain, context: tuple[int, ...]
) -> None:
    check(values, first, chain, context)


@settings(max_examples=100, deadline=None)
@given(logit_rows, firsts, extreme_chains, contexts)
def test_what_tiny_and_huge_parameters_leave_is_a_distribution(
    values: NDArray[np.float32], first: int, chain: Chain, context: tuple[int, ...]
) -> None:
    trace = decode(both(values, first)[0], chain, context)
    assert trace.final.head(1).probabilities[0] > 0
    assert trace.final.probabilities.sum() == pytest.approx(1)
    assert (np.diff(trace.final.probabilities) <= 1e-12).all()


def like_a_model(size: int) -> NDArray[np.float32]:
    """Logits of which the first hundreds hold nearly all the mass."""
    return np.random.default_rng(size).normal(0, 4, size).astype(np.float32)


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("size", [LARGE, 49_152, 262_144])
def test_a_large_vocabulary_is_left_unsorted_and_equals_the_sorted_one(
    size: int, decimals: int | None
) -> None:
    values = like_a_model(size)
    values = values if decimals is None else values.round(decimals)
    values[::1000] = -np.inf
    ours = Distribution.from_logits(values)
    assert isinstance(ours, Unsorted)
    order = np.lexsort((np.arange(size), -values.astype(np.float64)))
    assert ours.head(FIRST).token_ids[:FIRST].tolist() == order[:FIRST].tolist()
    weights = np.exp(values[order].astype(np.float64) - float(values.max()))
    assert ours.head(9).probabilities[:9] == pytest.approx(weights[:9] / weights.sum(), rel=1e-12)
    assert ours.rank_of(int(order[-1])) == size
    assert "_whole" not in ours.candidates.order.__dict__
    assert ours.token_ids.tolist() == order.tolist()
    assert ours.probabilities == pytest.approx(weights / weights.sum(), rel=1e-12)


@pytest.mark.parametrize(
    "chain",
    [
        *PRESETS.values(),
        (RepetitionPenalty(1.3), FrequencyPresencePenalty(0.5, 0.2), Temperature(0.8), TopK(40)),
        (LogitBias({7: 30.0, 9: -4.0}), TopP(0.9)),
        (Temperature(1.5), MinP(0.01)),
    ],
    ids=str,
)
def test_what_is_shown_of_a_usual_chain_sorts_nothing(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, sort = like_a_model(49_152), module.descending

    def of_few(these: NDArray[np.float32]) -> NDArray[np.int64]:
        assert len(these) < len(values), "the whole vocabulary is sorted"
        return sort(these)

    monkeypatch.setattr(module, "descending", of_few)
    trace = decode(Distribution.from_logits(values), chain, (1, 2, 2, 7))
    ranking = rank_candidates(trace, 50)
    ledger(trace, [row.token_id for row in ranking.rows])
    segments(trace, 40)
    observe(trace, draw(trace, 0.3))
    assert trace.distribution.entropy is not None and trace.final.entropy >= 0
    for stage in trace.stages:
        if len(stage.kept) < len(stage.before):  # where none was cut, the last ones are looked at
            ticks(stage)


def test_the_caller_may_change_his_logits_afterwards() -> None:
    values = like_a_model(LARGE)
    distribution = Distribution.from_logits(values)
    best = distribution.head(1).token_ids[0]
    values[:] = 0
    assert distribution.token_ids[0] == best
    assert distribution.logits[0] > 0


def test_many_tokens_of_the_tail_are_placed_by_sorting_and_few_by_counting() -> None:
    order = Order.of(like_a_model(LARGE), 5)
    candidates, ids = HeadFirst(order), np.arange(LARGE)
    few = candidates.places_of(ids[:FEW])
    assert "_whole" not in order.__dict__
    assert candidates.places_of(ids)[:FEW].tolist() == few.tolist()
    assert "_whole" in order.__dict__


@pytest.mark.parametrize("row", [[1.0, np.nan], [np.inf, 1.0], [-np.inf, -np.inf]])
def test_what_is_no_distribution_is_refused(row: list[float]) -> None:
    values = np.full(LARGE, -np.inf, np.float32)
    values[: len(row)] = row
    with pytest.raises(ValueError, match="must not hold NaN or"):
        Distribution.from_logits(values)


def test_xtc_leaves_the_whole_tail() -> None:
    values = like_a_model(LARGE)
    kept = decode(Distribution.from_logits(values), [Xtc(0.01)]).final
    assert kept.offset is not None and len(kept) == LARGE - kept.offset


@pytest.mark.parametrize("first", [1, 12, 13, 100, 4096, 40_000, 49_152])
@pytest.mark.parametrize("misled", [-50, 0, 50])
def test_the_first_are_the_first_whatever_one_in_sixteen_says(first: int, misled: int) -> None:
    values = like_a_model(49_152)
    values[::SAMPLED] += misled
    found = Order.of(values, first).first_ids
    assert first <= len(found) <= 2 * first
    assert found.tolist() == np.argsort(-values, kind="stable")[: len(found)].tolist()


def test_all_that_tie_for_the_last_place_are_among_the_first() -> None:
    values = np.round(like_a_model(49_152))
    found = Order.of(values, 4096).first_ids
    order = np.argsort(-values, kind="stable")
    assert found.tolist() == order[: len(found)].tolist()
    assert values[order[len(found)]] < values[found[-1]] <= values[order[4095]]


def test_what_it_says_to_take_is_what_it_takes_once_all_is_worked_out() -> None:
    distribution = Distribution.from_logits(like_a_model(49_152))
    assert isinstance(distribution, Unsorted)
    said, order = distribution.nbytes, distribution.candidates.order
    held = [
        order.values,
        order.first_ids,
        order.first_logits,
        *order._first_by_id,
        distribution.token_ids,
        distribution.logits,
        distribution.positions,
        distribution.probabilities,
        distribution.head(1).probabilities,
    ]
    assert said == pytest.approx(sum(array.nbytes for array in held), rel=0.02)


def test_nothing_outlives_its_last_user() -> None:
    distribution = Distribution.from_logits(like_a_model(LARGE))
    trace = decode(distribution, [Temperature(0.7), TopP(0.9)])
    rank_candidates(trace, 50)
    assert distribution.probabilities.sum() == pytest.approx(1)
    remains = weakref.ref(distribution.candidates.order.values)
    gc.disable()
    try:
        del distribution, trace
        assert remains() is None
    finally:
        gc.enable()
