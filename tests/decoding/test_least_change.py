"""The least change: it does what it says, and no smaller one does."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    Alternative,
    BannedSequences,
    Chain,
    Change,
    Constraint,
    CuttingStep,
    EpsilonCutoff,
    EtaCutoff,
    Greedy,
    MinP,
    MirostatV2,
    NoRepeatNgram,
    PLess,
    Stage,
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
    step_name,
    to_be_alone,
    to_survive,
)
from tests.decoding.cutting import EVERY, acting, kept_at
from tests.decoding.strategies import (
    Only,
    chains,
    contexts,
    logit_lists,
    tie_free_logits,
)

P4 = np.log([0.4, 0.3, 0.2, 0.1])
UNEVEN = np.log([0.411, 0.291, 0.195, 0.103])


def flip(stage: Stage, old: float, new: float, done: Callable[[set[int]], bool]) -> float:
    """The value nearest to `old` at which it is done, by halving; it is at `new`."""
    whole = isinstance(stage.step, TopK)
    while whole or abs(new - old) > 1e-12 * abs(new):
        middle = (old + new) // 2 if whole else (old + new) / 2
        if middle in (old, new):
            break
        if done(kept_at(stage, middle)):
            new = middle
        else:
            old = middle
    return new


def check_least(stage: Stage, change: Change, done: Callable[[set[int]], bool]) -> None:
    """Whatever is nearer to the old value does not do it, but for what rounding adds."""
    old, new = change.old, change.new
    assert old is not None
    if new is None:  # off: nothing between the ends of the range does it, where it may be off
        for value in (1e-9, 0.999999, 999 if isinstance(stage.step, TopNSigma) else 0.5):
            assert not done(kept_at(stage, value))
        return
    assert done(kept_at(stage, new)) and not done(kept_at(stage, old))
    off = isinstance(stage.step, TopNSigma) and old == 0  # 0 keeps all, as a high n does
    nearest = flip(stage, 1000 if off else old, new, done)
    assert kept_at(stage, nearest) == kept_at(stage, new)
    assert new == pytest.approx(nearest, rel=0.1)  # the fewest digits are two


@settings(deadline=None)
@given(logit_lists, chains, contexts, st.data())
def test_after_the_change_the_token_survives(
    logits: list[float], chain: Chain, context: tuple[int, ...], data: st.DataObject
) -> None:
    trace = decode(logits, chain, context)
    token = data.draw(st.integers(0, len(logits) - 1))
    found = to_survive(trace, token, context)
    assert token in decode(logits, found.chain, context).final.token_ids
    assert bool(found.changes) == (trace.cut_by(token) is not None)
    check_changes(chain, found)


def check_changes(chain: Chain, found: Alternative) -> None:
    """The changes tell exactly how the new chain differs from the old."""
    told = {change.number: change for change in found.changes}
    assert [change.number for change in found.changes] == sorted(told)
    expected: list[Step] = []
    for number, step in enumerate(chain):
        change = told.get(number)
        if change is None:
            expected.append(step)
            continue
        assert change.step == step_name(step)
        if isinstance(step, CuttingStep):
            assert change.parameter == step.parameter
            assert change.old == getattr(step, step.parameter)
        else:
            assert (change.parameter, change.old, change.new) == (None, None, None)
        if change.new is not None:
            assert change.parameter is not None
            expected.append(replace(cast(Any, step), **{change.parameter: change.new}))
    assert found.chain == tuple(expected)


@EVERY
@settings(deadline=None, max_examples=40)
@given(st.data(), tie_free_logits)
def test_no_smaller_change_lets_the_token_survive(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    trace = decode(logits, [data.draw(acting(kind))])
    assume(len(trace.stages[0].removed))
    token = int(data.draw(st.sampled_from(trace.stages[0].removed.tolist())))
    found = to_survive(trace, token)
    assert len(found.changes) == 1
    check_least(trace.stages[0], found.changes[0], lambda kept: token in kept)


@EVERY
@settings(deadline=None, max_examples=40)
@given(st.data(), tie_free_logits)
def test_no_smaller_change_leaves_the_token_alone(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    trace = decode(logits, [data.draw(acting(kind))])
    token = data.draw(st.integers(0, len(logits) - 1))
    for found in to_be_alone(trace, token):
        final = decode(logits, found.chain).final
        assert final.token_ids.tolist() == [token]
        (change,) = found.changes
        if change.number == 0:
            check_least(trace.stages[0], change, lambda kept: kept == {token})
        else:
            assert (change, found.chain[1:]) == (Change(1, "top_k", "k", None, 1), (TopK(1),))


@EVERY
@settings(deadline=None, max_examples=40)
@given(st.data(), tie_free_logits)
def test_whoever_can_be_alone_is_told_how(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    trace = decode(logits, [data.draw(acting(kind))])
    assume(len(trace.final) > 1)
    whole = range(1, len(logits) + 1)
    values = whole if kind is TopK else np.linspace(0.001, 0.999, 60).tolist()
    alone: set[int] = set()
    for value in values:
        kept = kept_at(trace.stages[0], value)
        alone |= kept if len(kept) == 1 else set()
    for token in range(len(logits)):
        offered = [one for one in to_be_alone(trace, token) if one.changes[0].number == 0]
        assert offered or token not in alone


@settings(deadline=None)
@given(logit_lists, chains, contexts, st.data())
def test_whatever_is_offered_leaves_the_token_alone(
    logits: list[float], chain: Chain, context: tuple[int, ...], data: st.DataObject
) -> None:
    trace = decode(logits, chain, context)
    token = data.draw(st.integers(0, len(logits) - 1))
    for found in to_be_alone(trace, token, context):
        assert decode(logits, found.chain, context).final.token_ids.tolist() == [token]
        (change,) = found.changes
        if change.number < len(chain):
            check_changes(chain, found)
        else:
            assert found.chain == (*chain, TopK(1))


@pytest.mark.parametrize(
    ("step", "token", "new"),
    [
        (TopK(1), 3, 4),
        (TopP(0.2), 2, 0.71),  # 0.702 stands before it
        (MinP(0.9), 1, 0.7),  # 0.291 of 0.411: 0.70803
        (EpsilonCutoff(0.35), 3, 0.1),  # 0.103
        (TopA(1), 3, 0.6),  # 0.103 of 0.411 squared: 0.60976
        (EtaCutoff(0.9), 3, 0.13),  # H = 1.27756, and (0.103 exp(H))^2 = 0.13657
        (TopNSigma(0.5), 1, 0.68),  # ln(0.411 / 0.291) by the deviation 0.51457: 0.67099
        (Typical(0.2), 0, 0.49),  # 0.291 and 0.195 are more typical
        (TopH(0.1), 1, 0.57),  # 0.36545 + 0.35922 of 1.27756: 0.56722
        (Xtc(0.05), 1, 0.2),  # above 0.195 it is the least probable of those that reach
    ],
    ids=repr,
)
def test_the_least_value_by_hand(step: Step, token: int, new: float) -> None:
    found = to_survive(decode(UNEVEN, [step]), token)
    assert [change.new for change in found.changes] == [new]


@pytest.mark.parametrize(
    ("step", "token", "low", "high"),
    [
        (TopP(0.2), 2, 0.7, 0.71),
        (MinP(0.9), 2, 0.49, 0.5),
        (TopA(1), 3, 0.62, 0.625),
        (Typical(0.2), 0, 0.5, 0.51),
    ],
    ids=repr,
)
def test_a_line_on_a_round_number_is_passed_in_few_digits(
    step: Step, token: int, low: float, high: float
) -> None:
    (change,) = to_survive(decode(P4, [step]), token).changes
    assert change.new is not None
    assert low <= change.new <= high
    assert len(str(change.new)) < 10


def test_the_curve_by_hand() -> None:
    # Second differences 0.15, 0.02 and 0.04 of 0.21: the third token comes at 0.80952.
    logits = np.log([0.5, 0.25, 0.15, 0.07, 0.03])
    assert to_survive(decode(logits, [TailFree(0.3)]), 2).chain == (TailFree(0.81),)


def test_as_many_digits_as_it_takes_to_bring_no_other_token() -> None:
    logits = np.log([0.5, 0.12374, 0.12361, 0.1235, 0.12915])
    (change,) = to_survive(decode(logits, [EpsilonCutoff(0.2)]), 1).changes
    assert change.new == 0.1237
    (change,) = to_survive(decode(logits, [EpsilonCutoff(0.2)]), 4).changes
    assert change.new == 0.129


def test_every_rule_that_cuts_in_turn_is_loosened() -> None:
    chain = (TopK(2), Temperature(0.5), TopP(0.3), BannedSequences([[3]]), MinP(0.9))
    found = to_survive(decode(P4, chain), 3)
    assert [(change.number, change.step) for change in found.changes] == [
        (0, "top_k"),
        (2, "top_p"),
        (3, "banned_sequences"),
        (4, "min_p"),
    ]
    assert found.changes[2] == Change(3, "banned_sequences", None, None, None)
    # 16 + 9 + 4 of 30 stand before it; and it is a sixteenth as probable as the best.
    assert found.changes[1].new == 0.97
    assert 0.06 <= (found.changes[3].new or 0) <= 0.0625
    assert found.chain[:3] == (TopK(4), Temperature(0.5), TopP(0.97))
    assert len(found.chain) == 4


@pytest.mark.parametrize(
    ("step", "token"),
    [
        (BannedSequences([[1]]), 1),
        (NoRepeatNgram(1), 1),
        (Constraint(regex="x").bound(Only((0, 2))), 1),
        (Greedy(), 1),
        (Temperature(0), 3),
        (PLess(), 3),
        (MirostatV2(0.5, 0.1), 3),
    ],
    ids=repr,
)
def test_a_rule_without_a_number_to_move_is_switched_off(step: Step, token: int) -> None:
    chain = (TopK(0), step)
    found = to_survive(decode(P4, chain, (1,)), token, (1,))
    assert found.changes == (Change(1, step_name(step), None, None, None),)
    assert found.chain == (TopK(0),)


@pytest.mark.parametrize("k", [0, 2, 4])
def test_alone_by_the_top_k_that_is_there(k: int) -> None:
    (found,) = to_be_alone(decode(P4, [TopK(k)]), 0)
    assert found == Alternative((Change(0, "top_k", "k", k, 1),), (TopK(1),))


def test_the_best_can_always_be_alone() -> None:
    added = Change(1, "top_k", "k", None, 1)
    (found,) = to_be_alone(decode(P4, [Temperature(2)]), 0)
    assert found == Alternative((added,), (Temperature(2), TopK(1)))
    (found,) = to_be_alone(decode(P4, ()), 0)
    assert found.chain == (TopK(1),)


def test_alone_by_any_one_of_several_rules() -> None:
    found = to_be_alone(decode(UNEVEN, (TopP(0.95), MinP(0.1))), 0)
    assert [(one.changes[0].step, one.changes[0].new) for one in found] == [
        ("top_p", 0.41),
        ("min_p", 0.71),
        ("top_k", 1),
    ]


def test_alone_though_not_the_best() -> None:
    # The most typical of the four is the second; XTC at 0 leaves the least probable.
    (found,) = to_be_alone(decode(UNEVEN, [Typical(0.95)]), 1)
    assert found.chain == (Typical(0.29),)
    (found,) = to_be_alone(decode(UNEVEN, [Xtc(0.25)]), 3)
    assert found.chain == (Xtc(0.1),)


@pytest.mark.parametrize("token", [1, 2, 3])
def test_nobody_but_the_best_can_be_alone_by_cutting_the_tail(token: int) -> None:
    chain = (TopK(4), TopP(0.95), MinP(0.01), TopA(0.1), EpsilonCutoff(0.01), TopH(0.99))
    assert to_be_alone(decode(P4, chain), token) == ()


def test_who_survives_or_is_alone_already_needs_nothing() -> None:
    for chain in ((TopK(1),), (Greedy(),), (TopP(0.1), MinP(0.3))):
        assert to_be_alone(decode(P4, chain), 0) == ()
        assert to_survive(decode(P4, chain), 0) == Alternative((), chain)


def test_equal_tokens_cannot_be_parted_by_their_probability() -> None:
    (found,) = to_be_alone(decode([1.0, 1.0, 0.0], [MinP(0.5)]), 0)
    assert found.changes[0].step == "top_k"


def test_impossible_tokens_are_brought_back_by_switching_off() -> None:
    found = to_survive(decode([0.0, -1.0, -math.inf], [TopNSigma(0.5)]), 2)
    assert found.changes == (Change(0, "top_n_sigma", "n", 0.5, None),)


def test_a_change_that_a_later_rule_makes_useless_is_not_offered() -> None:
    trace = decode(UNEVEN, (Xtc(0.25), TopK(1)))  # leaves the second
    assert [one.chain for one in to_be_alone(trace, 2)] == [(Xtc(0.19), TopK(1))]
    assert all(decode(UNEVEN, one.chain).cut_by(3) is None for one in to_be_alone(trace, 3))


def test_a_parameter_between_two_tokens_that_are_nearly_equal_has_all_its_digits() -> None:
    logits = [0.0, -1.0, -1.0 - 1e-14]
    (change,) = to_survive(decode(logits, [MinP(0.9)]), 1).changes
    assert change.new is not None
    assert decode(logits, [MinP(change.new)]).final.token_ids.tolist() == [0, 1]
