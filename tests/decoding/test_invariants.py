"""What holds for every chain of every step there is."""

import itertools
import json
import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    STEPS,
    Chain,
    Distribution,
    DynamicTemperature,
    FrequencyPresencePenalty,
    LogitBias,
    RepetitionPenalty,
    Step,
    Temperature,
    TopK,
    Typical,
    Xtc,
    chain_from_json,
    chain_to_json,
    decode,
    draw,
    step_name,
)
from tests.decoding.strategies import (
    BY_KIND,
    chains,
    contexts,
    extreme_chains,
    logit_lists,
    renamed,
    steps,
    tie_free_logits,
    whole_logits,
)

in_short = settings(max_examples=120, deadline=None)


def test_there_is_a_strategy_for_every_step() -> None:
    assert set(BY_KIND) == set(STEPS.values())


@pytest.mark.parametrize("kind", BY_KIND, ids=[kind.__name__ for kind in BY_KIND])
def test_each_step_alone_leaves_a_distribution(kind: type) -> None:
    @settings(max_examples=40, deadline=None)
    @given(logit_lists, BY_KIND[kind], contexts)
    def check(logits: list[float], step: Step, context: tuple[int, ...]) -> None:
        assert_sound(logits, (step,), context)

    check()


@in_short
@given(logit_lists, extreme_chains, contexts, st.floats(0, 1, exclude_max=True))
def test_something_possible_survives_and_the_final_distribution_sums_to_1(
    logits: list[float], chain: Chain, context: tuple[int, ...], u: float
) -> None:
    assert_sound(logits, chain, context)
    trace = decode(logits, chain, context)
    assert trace.probabilities[draw(trace, u)] > 0


def assert_sound(logits: list[float], chain: Chain, context: Sequence[int]) -> None:
    trace = decode(logits, chain, context)
    for stage in trace.stages:
        assert len(stage.kept) >= 1
        assert set(stage.kept.token_ids.tolist()) <= set(stage.before.token_ids.tolist())
        assert np.isfinite(stage.kept.logits[0])
        assert not np.isnan(stage.kept.logits).any()
        assert (stage.kept.logits[:-1] >= stage.kept.logits[1:]).all()
        assert 0 <= stage.kept.entropy <= math.log(len(stage.kept)) + 1e-9
    assert trace.probabilities.min() >= 0
    assert math.fsum(trace.probabilities) == pytest.approx(1, abs=1e-12)


@in_short
@given(logit_lists, chains, contexts)
def test_what_ties_stands_by_token_id(
    logits: list[float], chain: Chain, context: tuple[int, ...]
) -> None:
    candidates = Distribution.from_logits(logits).candidates
    for step in chain:
        candidates = step(candidates, context)
        if isinstance(step, Temperature | DynamicTemperature):
            return  # a division may round two logits to one; they keep the order they had
        tied = candidates.logits[1:] == candidates.logits[:-1]
        assert (np.diff(candidates.token_ids)[tied] > 0).all()


@in_short
@given(logit_lists, chains, contexts)
def test_kept_and_removed_are_disjoint_and_complete(
    logits: list[float], chain: Chain, context: tuple[int, ...]
) -> None:
    trace = decode(logits, chain, context)
    parts = [trace.final.token_ids.tolist(), *(stage.removed.tolist() for stage in trace.stages)]
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(len(logits)))


@in_short
@given(logit_lists, chains, contexts)
def test_every_way_to_ask_who_was_cut_gives_the_answer_of_plain_sets(
    logits: list[float], chain: Chain, context: tuple[int, ...]
) -> None:
    distribution = Distribution.from_logits(logits)
    trace = decode(distribution, chain, context)
    candidates, expected = distribution.candidates, [-1] * len(logits)
    for number, step in enumerate(chain):
        after = step(candidates, context)
        stay = set(after.token_ids.tolist())
        gone = [token_id for token_id in candidates.token_ids.tolist() if token_id not in stay]
        assert trace.stages[number].removed.tolist() == gone
        for token_id in gone:
            expected[token_id] = number
        candidates = after
    every_id = np.arange(len(logits))
    assert trace.stages_that_cut.tolist() == expected
    assert trace.stages_cutting(every_id).tolist() == expected
    assert trace.stages_cutting(every_id[::-2]).tolist() == expected[::-2]
    for token_id, number in enumerate(expected):
        assert trace.cut_by(token_id) == (None if number < 0 else step_name(chain[number]))
        assert (trace.probabilities[token_id] > 0) <= (number < 0)
    for stage in trace.stages:
        ids = stage.kept.token_ids.tolist()
        places = [ids.index(token_id) if token_id in ids else -1 for token_id in every_id]
        assert trace.places(stage.kept, every_id).tolist() == places


@pytest.mark.parametrize(
    "chain",
    [
        (TopK(2),),
        (Xtc(0.2), TopK(1)),
        (Typical(0.2),),
        (LogitBias({4: 9.0}), TopK(1)),
    ],
)
def test_a_token_of_unknown_logit_was_cut_by_nothing(chain: Chain) -> None:
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.3, 0.1]), coverage=0.8, vocab_size=9)
    trace = decode(known, chain)
    unknown = np.array([0, 1, 3, 5, 6, 8])
    assert trace.stages_that_cut[unknown].tolist() == [-1] * 6
    assert {trace.cut_by(token_id) for token_id in unknown.tolist()} == {None}
    assert trace.stages_cutting(unknown).tolist() == [-1] * 6
    assert trace.stages_cutting(known.token_ids).tolist() == (
        trace.stages_that_cut[known.token_ids].tolist()
    )


@in_short
@given(tie_free_logits, chains, contexts, st.randoms(use_true_random=False))
def test_renaming_the_tokens_renames_the_result(
    logits: NDArray[np.float64], chain: Chain, context: tuple[int, ...], random: Random
) -> None:
    old_ids = list(range(len(logits)))
    random.shuffle(old_ids)
    new_ids = np.argsort(old_ids).tolist()
    other_context = [new_ids[i] if i < len(new_ids) else i for i in context]
    other_chain = [renamed(step, new_ids) for step in chain]
    before, after = (
        decode(logits, chain, context),
        decode(logits[old_ids], other_chain, other_context),
    )
    assert [old_ids[i] for i in after.final.token_ids] == before.final.token_ids.tolist()
    assert after.probabilities == pytest.approx(before.probabilities[old_ids], rel=1e-9)


shift_free = st.lists(
    steps.filter(lambda step: not isinstance(step, RepetitionPenalty)), max_size=5
).map(tuple)


@in_short
@given(whole_logits, shift_free, contexts, st.integers(-1000, 1000))
def test_adding_a_constant_to_every_logit_changes_nothing(
    logits: NDArray[np.float64], chain: Chain, context: tuple[int, ...], constant: int
) -> None:
    before, after = decode(logits, chain, context), decode(logits + constant, chain, context)
    assert after.final.token_ids.tolist() == before.final.token_ids.tolist()
    assert after.probabilities == pytest.approx(before.probabilities, rel=1e-6, abs=1e-9)


def test_adding_a_constant_changes_what_a_repetition_penalty_does() -> None:
    # 2 / 2 = 1 stands 0 above the other; 12 / 2 = 6 stands 5 below it.
    assert decode([2.0, 1.0], [RepetitionPenalty(2)], [0]).probabilities == pytest.approx([0.5] * 2)
    shifted = decode([12.0, 11.0], [RepetitionPenalty(2)], [0]).probabilities
    assert shifted[0] == pytest.approx(1 / (1 + math.exp(5)))


@in_short
@given(tie_free_logits, st.builds(Temperature, st.floats(1e-3, 100)) | BY_KIND[DynamicTemperature])
def test_a_temperature_keeps_the_order_and_all_tokens(
    logits: NDArray[np.float64], step: Step
) -> None:
    trace = decode(logits, [step])
    np.testing.assert_array_equal(trace.final.token_ids, trace.distribution.token_ids)
    assert (np.diff(trace.final.probabilities) <= 0).all()


@in_short
@given(logit_lists, chains, contexts)
def test_a_step_changes_nothing_that_it_was_given(
    logits: list[float], chain: Chain, context: tuple[int, ...]
) -> None:
    candidates = Distribution.from_logits(logits).candidates
    for step in chain:
        ids, values = candidates.token_ids.copy(), candidates.logits.copy()
        after = step(candidates, context)
        np.testing.assert_array_equal(candidates.token_ids, ids)
        np.testing.assert_array_equal(candidates.logits, values)
        again = step(candidates, list(context))
        np.testing.assert_array_equal(again.token_ids, after.token_ids)
        np.testing.assert_array_equal(again.logits, after.logits)
        candidates = after


@in_short
@given(chains)
def test_a_chain_survives_json(chain: Chain) -> None:
    # A grammar is bound to one model's vocabulary, is no part of the JSON, and not compared.
    assert chain_from_json(json.loads(json.dumps(chain_to_json(chain), allow_nan=False))) == chain


def test_a_ban_is_null_in_json() -> None:
    there = json.dumps(chain_to_json([LogitBias({3: -math.inf, 1: 2.5})]), allow_nan=False)
    assert json.loads(there) == [{"step": "logit_bias", "bias": {"1": 2.5, "3": None}}]
    assert chain_from_json(json.loads(there)) == (LogitBias({1: 2.5, 3: -math.inf}),)


@in_short
@given(whole_logits, chains, contexts)
def test_steps_after_one_another_are_one_chain(
    logits: NDArray[np.float64], chain: Chain, context: tuple[int, ...]
) -> None:
    # Penalties that do nothing here stand between the steps and must not disturb them.
    idle = FrequencyPresencePenalty(0.0, 0.0)
    padded = [step for pair in chain for step in (pair, idle)]
    one, other = decode(logits, chain, context), decode(logits, padded, context)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
