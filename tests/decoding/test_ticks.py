"""Ticks of a slider: at each one, exactly one token comes or goes."""

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    BannedSequences,
    CuttingStep,
    Distribution,
    EpsilonCutoff,
    EtaCutoff,
    Greedy,
    MinP,
    MirostatV1,
    MirostatV2,
    NoRepeatNgram,
    PLess,
    Stage,
    Step,
    TailFree,
    Temperature,
    Tick,
    TopA,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
    decode,
    ticks,
)
from tests.decoding.cutting import CUTTING, EVERY, acting, kept_at
from tests.decoding.strategies import temperatures, tie_free_logits

P4 = np.log([0.4, 0.3, 0.2, 0.1])


def stage_of(logits: Any, *chain: Step) -> Stage:
    return decode(logits, chain).stages[-1]


def shown(stage: Stage) -> list[tuple[float, int, bool]]:
    return [(round(tick.value, 6), tick.token_id, tick.kept) for tick in ticks(stage)]


def test_every_rule_with_a_line_to_move_is_tried_here() -> None:
    assert set(CUTTING) == {
        TopK,
        TopP,
        MinP,
        Typical,
        EpsilonCutoff,
        EtaCutoff,
        TopA,
        TailFree,
        TopH,
        TopNSigma,
        Xtc,
    }


@EVERY
@settings(deadline=None, max_examples=60)
@given(st.data(), tie_free_logits)
def test_just_past_a_tick_its_token_has_come_or_gone(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    stage = stage_of(logits, data.draw(acting(kind)))
    kept = set(stage.kept.token_ids.tolist())
    for tick in ticks(stage):
        assert tick.kept == (tick.token_id in kept)
        assert (tick.token_id in kept_at(stage, tick.past)) != tick.kept


@EVERY
@settings(deadline=None, max_examples=60)
@given(st.data(), tie_free_logits)
def test_at_a_tick_one_token_changes_and_no_other(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    stage = stage_of(logits, data.draw(acting(kind)))
    for tick in ticks(stage):
        if kind is TopK:
            below, above = int(tick.value) - 1, int(tick.value)
            if below == 0:
                continue  # which is off
        else:
            below, above = tick.value * (1 - 1e-9), tick.value * (1 + 1e-9)
            if above >= 1 and kind is not TopNSigma:
                continue  # the end of the range, where a rule may be off
        step = cast(CuttingStep, stage.step)
        fewer, more = kept_at(stage, below), kept_at(stage, above)
        moved = np.array(sorted(more - fewer if step.widens else fewer - more))
        assert tick.token_id in moved
        # Two may move as one: the second differences far down the tail add next to nothing.
        lines = step.critical(stage.before, stage.before.positions[moved].astype(np.int64))
        assert lines == pytest.approx(tick.value, rel=2e-9)
        assert not (fewer - more if step.widens else more - fewer)


@EVERY
@settings(deadline=None, max_examples=60)
@given(st.data(), tie_free_logits)
def test_the_ticks_are_the_nearest_ones_each_way_in_order(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    step = data.draw(acting(kind))
    stage = stage_of(logits, step)
    found = ticks(stage)
    assert [tick.value for tick in found] == sorted(tick.value for tick in found)
    assert len({tick.token_id for tick in found}) == len(found)
    for kept in (True, False):
        side = [tick for tick in found if tick.kept == kept]
        assert len(side) <= 3
        check_nearest(stage, side)
    if kind not in (Typical, Xtc):
        assert int(stage.before.token_ids[0]) not in {tick.token_id for tick in found}


def check_nearest(stage: Stage, side: list[Tick]) -> None:
    """Between the present value and a tick there is no change but those of ticks."""
    step = cast(CuttingStep, stage.step)
    now = float(getattr(step, step.parameter))
    if isinstance(step, TopK):
        return  # whole numbers: the one change at each of them is checked above
    told: set[int] = set()
    for tick in sorted(side, key=lambda tick: abs(tick.value - now)):
        before_it = tick.value + math.copysign(tick.value * 1e-9, now - tick.value)
        if not min(now, tick.value) < before_it < max(now, tick.value):
            continue
        if before_it >= 1 and not isinstance(step, TopNSigma):
            continue
        if now not in (0, 1):  # where many rules are off, and the next value is a leap
            assert kept_at(stage, before_it) ^ kept_at(stage, now) == told
        told.add(tick.token_id)


@settings(deadline=None, max_examples=60)
@given(st.data(), tie_free_logits, temperatures, st.integers(1, 10))
def test_ticks_are_of_what_the_rule_before_left(
    data: st.DataObject, logits: NDArray[np.float64], temperature: float, k: int
) -> None:
    step = data.draw(st.one_of(*(acting(kind) for kind in CUTTING)))
    stage = stage_of(logits, Temperature(temperature), TopK(k), step)
    left = set(stage.before.token_ids.tolist())
    for tick in ticks(stage):
        assert tick.token_id in left
        assert (tick.token_id in kept_at(stage, tick.past)) != tick.kept


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (TopK(2), [(2, 1, True), (3, 2, False), (4, 3, False)]),
        (TopP(0.5), [(0.4, 1, True), (0.7, 2, False), (0.9, 3, False)]),
        (MinP(0.6), [(0.25, 3, False), (0.5, 2, False), (0.75, 1, True)]),
        (EpsilonCutoff(0.15), [(0.1, 3, False), (0.2, 2, True), (0.3, 1, True)]),
        # Times 0.4 squared.
        (TopA(0.9), [(0.625, 3, False)]),
        # H = 1.2799; the distances are 0.364, 0.076, 0.330 and 1.023.
        (Typical(0.4), [(0.3, 2, True), (0.5, 0, False), (0.9, 3, False)]),
        # Above 0.3 nothing is cut, above 0.2 the best alone, above 0.1 the best two.
        (Xtc(0.15), [(0.1, 2, True), (0.2, 1, False), (0.3, 0, False)]),
    ],
    ids=repr,
)
def test_ticks_by_hand(step: Step, expected: list[tuple[float, int, bool]]) -> None:
    assert shown(stage_of(P4, step)) == expected


def test_ticks_of_a_curve_by_hand() -> None:
    # Second differences 0.15, 0.02 and 0.04 of 0.21; the fourth token comes with the fifth, at 1.
    found = shown(stage_of(np.log([0.5, 0.25, 0.15, 0.07, 0.03]), TailFree(0.75)))
    assert found[:2] == [(0.714286, 1, True), (0.809524, 2, False)]
    assert all(value == 1 for value, _, _ in found[2:])


def test_a_value_just_past_is_in_few_digits() -> None:
    pasts = [tick.past for tick in ticks(stage_of(np.log([0.5, 0.3, 0.123456789]), MinP(0.4)))]
    # 0.246913578 of the best, and 0.6: below to bring the one, above to drop the other.
    assert pasts[0] == 0.2469
    assert 0.6 <= pasts[1] <= 0.6001
    assert [tick.past for tick in ticks(stage_of(P4, TopK(2)))] == [1, 3, 4]


@pytest.mark.parametrize(
    ("kind", "logits"),
    [
        (TopA, np.log([0.4, 0.3, 0.2, 0.1])),  # 0.3 / 0.16 is above 1
        (EtaCutoff, np.zeros(40) - np.arange(40) / 1000),
        (TopH, np.log([0.4, 0.3, 0.2, 0.1])),
        (TailFree, np.log([0.5, 0.25, 0.15, 0.07, 0.03])),
    ],
)
@pytest.mark.parametrize("value", [0.001, 0.5, 0.97])
def test_a_tick_can_be_set(kind: Any, logits: NDArray[np.float64], value: float) -> None:
    """A tick beyond the end of the parameter's range is no place to go to."""
    for tick in ticks(stage_of(logits, kind(value))):
        assert 0 <= tick.past <= 1
        kind(tick.past)


@pytest.mark.parametrize("kind", [kind for kind in CUTTING if kind is not TopK])
@pytest.mark.parametrize("lowest", [-700.0, -712.0, -740.0, -800.0, -math.inf])
def test_the_least_probable_tokens_there_can_be(kind: Any, lowest: float) -> None:
    stage = stage_of([0.0, -1.0, lowest, lowest - 1.5], kind(0.3))
    for tick in ticks(stage):
        assert math.isfinite(tick.value) and math.isfinite(tick.past)


@pytest.mark.parametrize(
    "step",
    [
        Greedy(),
        PLess(),
        Temperature(0.5),
        Temperature(0),
        MirostatV1(1, 0.1),
        MirostatV2(1, 0.1),
        BannedSequences([[1]]),
        NoRepeatNgram(1),
    ],
    ids=repr,
)
def test_a_rule_without_a_line_to_move_has_no_ticks(step: Step) -> None:
    assert ticks(stage_of(P4, step)) == ()


@EVERY
def test_a_single_candidate_neither_comes_nor_goes(kind: Any) -> None:
    stage = stage_of([2.0, 1.0], TopK(1), kind(1))
    for tick in ticks(stage):
        assert kind in (Typical, Xtc)
        assert (tick.token_id in kept_at(stage, tick.past)) != tick.kept


def test_as_many_each_way_as_asked_for() -> None:
    stage = stage_of(np.arange(100, 0, -1.0), TopK(50))
    for count in (1, 2, 5):
        found = ticks(stage, each_way=count)
        assert [tick.value for tick in found if tick.kept] == list(range(51 - count, 51))
        assert [tick.value for tick in found if not tick.kept] == list(range(51, 51 + count))


def test_ticks_among_what_a_server_sent() -> None:
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.24, 0.16]), 0.8, 10)
    assert shown(stage_of(known, TopP(0.6))) == [(0.4, 2, True), (0.64, 4, False)]


def test_past_a_probability_that_a_float_hardly_holds_the_token_is_gone() -> None:
    stage = decode([0.0, -744.4], [MinP(0.0)]).stages[0]
    (tick,) = ticks(stage)
    assert (tick.value, tick.token_id, tick.kept) == (5e-324, 1, True)
    assert len(decode([0.0, -744.4], [MinP(tick.past)]).final) == 1
