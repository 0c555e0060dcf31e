"""Chains with a memory: taken along when rules change, and told what each token did to it."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    Chain,
    MinP,
    MirostatV1,
    MirostatV2,
    StatefulStep,
    Temperature,
    TopK,
    advance,
    decode,
    observe,
    resume,
)
from tests.decoding.strategies import chains, tie_free_logits

P3 = np.log([0.5, 0.3, 0.2])


def mus(chain: Chain) -> list[float | None]:
    return [step.mu for step in chain if isinstance(step, StatefulStep)]


def test_a_changed_target_keeps_mu() -> None:
    last = (Temperature(0.8), MirostatV2(5, 0.1, 3.25))
    assert resume((MirostatV2(2, 0.5),), last) == (MirostatV2(2, 0.5, 3.25),)
    assert resume((TopK(3), MirostatV2(5, 0.1), MinP(0.1)), last) == (
        TopK(3),
        MirostatV2(5, 0.1, 3.25),
        MinP(0.1),
    )


def test_a_new_mirostat_starts_fresh() -> None:
    assert resume((MirostatV2(5, 0.1),), (TopK(3),)) == (MirostatV2(5, 0.1),)
    # The other version cuts by another rule: its mu means nothing here.
    assert resume((MirostatV1(5, 0.1),), (MirostatV2(5, 0.1, 3.25),)) == (MirostatV1(5, 0.1),)


def test_steps_of_one_kind_are_matched_in_their_order() -> None:
    last = (MirostatV2(1, 0.1, 11), MirostatV1(1, 0.1, 21), MirostatV2(2, 0.1, 12))
    chain = (MirostatV1(9, 0.1), MirostatV2(9, 0.1), TopK(2), MirostatV2(9, 0.1))
    assert mus(resume(chain, last)) == [21, 11, 12]
    assert mus(resume((*chain, MirostatV2(9, 0.1)), last)) == [21, 11, 12, None]
    assert mus(resume(chain[1:2], last)) == [11]


def test_a_mu_that_was_set_gives_way_to_the_one_reached() -> None:
    assert mus(resume((MirostatV2(5, 0.1, 7),), (MirostatV2(5, 0.1, 3),))) == [3]
    assert mus(resume((MirostatV2(5, 0.1, 7),), ())) == [7]


def test_nothing_to_resume() -> None:
    assert resume((), (MirostatV2(5, 0.1, 3),)) == ()
    assert resume((TopK(2),), ()) == (TopK(2),)


@given(chains, chains)
@settings(deadline=None)
def test_resuming_changes_nothing_but_states(chain: Chain, last: Chain) -> None:
    resumed = resume(chain, last)
    assert resume(resumed, last) == resumed
    assert resume(chain, chain) == chain
    assert [type(step) for step in resumed] == [type(step) for step in chain]
    for step, before in zip(resumed, chain, strict=True):
        assert isinstance(step, StatefulStep) or step is before
    for kind in (MirostatV1, MirostatV2):
        old = mus(tuple(step for step in last if isinstance(step, kind)))
        new = mus(tuple(step for step in chain if isinstance(step, kind)))
        found = mus(tuple(step for step in resumed if isinstance(step, kind)))
        assert found == (old + new[len(old) :])[: len(new)]


@given(tie_free_logits, chains, st.data())
@settings(deadline=None)
def test_what_is_observed_is_what_advances(
    logits: NDArray[np.float64], chain: Chain, data: st.DataObject
) -> None:
    trace = decode(logits, chain)
    token = data.draw(st.integers(0, len(logits) - 1))
    seen = observe(trace, token)
    assert [one.next_mu for one in seen] == mus(advance(chain, trace, token))
    assert [one.mu for one in seen] == [
        step.current_mu for step in chain if isinstance(step, MirostatV1 | MirostatV2)
    ]
    for one in seen:
        assert one.kept >= 1
        if one.surprise is None:
            assert (one.error, one.next_mu) == (None, one.mu)
            assert trace.cut_by(token) is not None
        else:
            assert one.error == one.surprise - one.tau


def test_an_observation_by_hand() -> None:
    # mu = 2 bits keeps 0.5 and 0.3; the second has 0.375 of them, which is 1.415 bits.
    (seen,) = observe(decode(P3, [MirostatV2(1, 0.5)]), 1)
    surprise = -math.log2(0.375)
    assert (seen.tau, seen.mu, seen.kept, seen.cut) == (1, 2, 2, 0.25)
    assert seen.surprise == pytest.approx(surprise)
    assert seen.error == pytest.approx(surprise - 1)
    assert seen.next_mu == pytest.approx(2 - 0.5 * (surprise - 1))


def test_two_memories_see_the_same_token_each_for_itself() -> None:
    # 1.2 bits keep 0.5 alone; the second then has one candidate and no surprise to see.
    first, second = observe(decode(P3, [MirostatV2(0.6, 0.1), MirostatV2(3, 0.1)]), 0)
    assert (first.kept, second.kept) == (1, 1)
    assert first.surprise == second.surprise == pytest.approx(0)
    assert (first.next_mu, second.next_mu) == pytest.approx((1.2 + 0.06, 6 + 0.3))


@pytest.mark.parametrize("chain", [(), (TopK(2), Temperature(0.5)), (MinP(0.1),)], ids=repr)
def test_rules_without_a_memory_observe_nothing(chain: Any) -> None:
    assert observe(decode(P3, chain), 0) == ()
