"""The numbers a rule compares, when a server sent a part: exact ones are those of the whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    Alternative,
    Chain,
    Distribution,
    EtaCutoff,
    Greedy,
    MeasuringStep,
    MinP,
    MirostatV1,
    MirostatV2,
    PLess,
    Temperature,
    TopH,
    TopK,
    TopP,
    Trace,
    Typical,
    decode,
    to_be_alone,
    to_survive,
)
from tests.decoding.partial import both, sent
from tests.decoding.strategies import chains, contexts, steps, tie_free_logits

thorough = settings(max_examples=300, deadline=None)
TEN = Distribution.from_logits(np.log(np.arange(10, 0, -1) / 55))


def same_numbers(truth: Trace, trace: Trace) -> None:
    for whole, part in zip(truth.stages, trace.stages, strict=True):
        if not part.exact or not isinstance(part.step, MeasuringStep):
            continue
        ids = part.before.token_ids
        here, there = trace.places(part.before, ids), truth.places(whole.before, ids)
        assert (there >= 0).all()
        assert isinstance(whole.step, MeasuringStep)
        found, right = (
            part.step.measured(part.before, here),
            whole.step.measured(whole.before, there),
        )
        assert found.line == pytest.approx(right.line, rel=1e-6, abs=1e-9)
        assert found.values == pytest.approx(right.values, rel=1e-6, abs=1e-9)


@thorough
@given(tie_free_logits, st.floats(0, 1), chains, contexts, st.booleans())
def test_what_is_called_exact_is_that_of_the_whole_vocabulary(
    logits: NDArray[np.float64], part: float, chain: Chain, context: tuple[int, ...], known: bool
) -> None:
    same_numbers(*both(logits, part, chain, context, known))


@thorough
@given(tie_free_logits, st.floats(0, 1), steps, contexts)
def test_so_it_is_of_each_rule_by_itself(
    logits: NDArray[np.float64], part: float, step: Any, context: tuple[int, ...]
) -> None:
    same_numbers(*both(logits, part, (step,), context, True))


@pytest.mark.parametrize(
    ("chain", "exact"),
    [
        ((TopP(0.5), MinP(0.1), Greedy()), [True, True, True]),
        ((TopK(9), TopP(0.9)), [True, False]),  # four of the nine were not sent
        ((Temperature(2.0), TopP(0.3)), [True, False]),
        ((Temperature(2.0), TopK(3)), [True, False]),
        ((MirostatV2(3.0, 0.1),), [True]),
        ((EtaCutoff(0.01),), [False]),
        ((PLess(),), [False]),
        ((Typical(0.5),), [False]),
        ((TopK(4), TopH(0.5)), [True, True]),  # nothing that was not sent is left
    ],
)
def test_which_numbers_are_exact(chain: Chain, exact: list[bool]) -> None:
    trace = decode(sent(TEN, 5, size_known=True), chain)
    assert [stage.exact for stage in trace.stages] == exact
    assert all(stage.exact for stage in decode(TEN, chain).stages)


def test_mirostat_v1_looks_at_no_more_than_its_first_tokens() -> None:
    five = sent(TEN, 5, size_known=True)
    assert decode(five, [MirostatV1(3.0, 0.1, m=5)]).stages[0].exact
    assert not decode(five, [MirostatV1(3.0, 0.1, m=6)]).stages[0].exact


def test_mirostat_v1_may_keep_more_than_was_sent() -> None:
    three = np.array([-1.73549551, -0.93884091, -0.83792717])
    same_numbers(*both(three, 1.0, (MirostatV1(0.01, 0.0, 1.1, m=2),), (), known=True))


def keeps(found: Alternative, whole: Distribution) -> list[int]:
    return list(decode(whole, found.chain).final.token_ids)


@thorough
@given(tie_free_logits, st.floats(0, 1), chains, st.data())
def test_a_change_that_is_certain_does_it_in_the_whole_vocabulary(
    logits: NDArray[np.float64], part: float, chain: Chain, data: st.DataObject
) -> None:
    truth, trace = both(logits, part, chain, (), True)
    token_id = int(data.draw(st.sampled_from(trace.distribution.token_ids.tolist())))
    found = to_survive(trace, token_id)
    assert not found.certain or token_id in keeps(found, truth.distribution)
    for alone in to_be_alone(trace, token_id):
        assert not alone.certain or keeps(alone, truth.distribution) == [token_id]


def test_a_least_change_is_an_estimate_where_tokens_that_were_not_sent_count() -> None:
    five = sent(TEN, 5, size_known=True)
    sharp, hot = decode(five, [TopP(0.3)]), decode(five, [Temperature(2.0), TopP(0.2)])
    assert to_survive(sharp, 2).certain and not to_survive(hot, 2).certain
    assert [one.certain for one in to_be_alone(sharp, 0)] == [True, True]
    assert all(not one.certain for one in to_be_alone(hot, 0)[:1])
