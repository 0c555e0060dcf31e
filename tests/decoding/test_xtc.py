"""Exclude Top Choices: what goes when it fires, and how often it fires."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from explorer.decoding import Greedy, Temperature, TopK, Xtc, decode, flip, uniform
from tests.decoding.strategies import shares, tie_free_logits, whole_logits

P4 = [0.4, 0.3, 0.2, 0.1]


def kept(step: Xtc, probabilities: list[float]) -> list[int]:
    with np.errstate(divide="ignore"):
        return decode(np.log(probabilities), [step]).final.token_ids.tolist()


@pytest.mark.parametrize(
    ("threshold", "survivors"),
    [
        (0.41, [0, 1, 2, 3]),  # none reaches it
        (0.31, [0, 1, 2, 3]),  # one does, and is the least probable that does
        (0.29, [1, 2, 3]),
        (0.19, [2, 3]),
        (0.09, [3]),
        (0, [3]),
        (0.5, [0, 1, 2, 3]),
        (1, [0, 1, 2, 3]),
    ],
)
def test_all_above_the_threshold_go_but_the_least_probable(
    threshold: float, survivors: list[int]
) -> None:
    assert kept(Xtc(threshold), P4) == survivors


def test_the_survivors_share_the_mass() -> None:
    assert decode(np.log(P4), [Xtc(0.19)]).probabilities == pytest.approx([0, 0, 2 / 3, 1 / 3])


def test_exactly_one_of_a_tie_survives() -> None:
    assert kept(Xtc(0.2), [0.3, 0.1, 0.3, 0.3]) == [3, 1]
    assert kept(Xtc(0.5), [0.5, 0.5]) == [1]  # a token at the threshold reaches it
    assert kept(Xtc(0.25), [0.25] * 4) == [3]


def test_a_threshold_above_one_half_is_off() -> None:
    assert kept(Xtc(math.nextafter(0.5, 1)), [0.5, 0.5]) == [0, 1]
    assert kept(Xtc(0.51), [0.6, 0.4]) == [0, 1]


def test_it_sees_what_the_rule_before_left() -> None:
    # 4/7 and 3/7 of two: both reach 0.42, of four only none.
    assert decode(np.log(P4), [TopK(2), Xtc(0.42)]).final.token_ids.tolist() == [1]
    assert kept(Xtc(0.42), P4) == [0, 1, 2, 3]


def test_the_places_of_what_is_left_are_known_to_the_next_rule() -> None:
    trace = decode(np.log(P4), [Xtc(0.29), TopK(2), Xtc(0.3), Greedy()])
    # 0.3, 0.2, 0.1 are left, then 0.6 and 0.4, then 0.4.
    assert [stage.removed.tolist() for stage in trace.stages] == [[0], [3], [1], []]
    assert [trace.cut_by(i) for i in range(4)] == ["xtc", "xtc", None, "top_k"]
    assert trace.stages_cutting(np.arange(4)).tolist() == [0, 2, -1, 1]


@pytest.mark.parametrize("logits", [[0.0, -math.inf], [1.0, 0.0, -math.inf, -math.inf]])
def test_an_impossible_token_is_not_the_one_that_survives(logits: list[float]) -> None:
    trace = decode(logits, [Xtc(0)])
    possible = [i for i, logit in enumerate(logits) if logit > -math.inf]
    assert trace.probabilities[possible[-1]] == 1
    assert trace.final.token_ids.tolist()[0] == possible[-1]


def test_a_probability_that_is_0_as_a_float_reaches_no_threshold() -> None:
    trace = decode([0.0, -10.0, -800.0], [Xtc(0)])  # e^-800 is below the least float
    assert trace.final.token_ids.tolist() == [1, 2]
    assert trace.probabilities.tolist() == [0, 1, 0]


@settings(max_examples=200, deadline=None)
@given(tie_free_logits | whole_logits, shares)
def test_xtc_is_text_generation_webuis(logits: NDArray[np.float64], threshold: float) -> None:
    order = np.argsort(-logits, kind="stable")
    p = np.exp(logits - logits.max())[order]
    p /= p.sum()
    # "exactly those indices for which the next index has probability above the threshold"
    removed = [*(p[1:] >= threshold), False] if threshold <= 0.5 else [False] * len(p)
    expected = [i for i, gone in zip(order.tolist(), removed, strict=True) if not gone]
    assert decode(logits, [Xtc(threshold)]).final.token_ids.tolist() == expected


def test_a_look_at_the_distribution_never_flips_the_coin() -> None:
    for probability in (0.001, 0.5, 1.0):
        assert kept(Xtc(0.19, probability), P4) == [2, 3]
    assert kept(Xtc(0.19, 0.0), P4) == [0, 1, 2, 3]


def test_a_flip_makes_sure() -> None:
    chain = (Xtc(0.1, 0.5), Temperature(0.7), Xtc(0.2, 0.5))
    for position in range(50):
        flipped = flip(chain, 3, position)
        assert flipped == flip(chain, 3, position)
        assert flipped[1] is chain[1]
        for number in (0, 2):
            step = flipped[number]
            assert isinstance(step, Xtc)
            assert step.threshold == chain[number].threshold  # type: ignore[union-attr]
            # text-generation-webui: acts where the coin is below the probability
            fires = uniform(3, position, stream=number + 1) < 0.5
            assert step.probability == (1.0 if fires else 0.0)


def test_a_flip_leaves_alone_what_is_sure() -> None:
    chain = (Xtc(0.1, 0.0), Xtc(0.1), Greedy())
    for position in range(20):
        assert all(a is b for a, b in zip(flip(chain, 0, position), chain, strict=True))


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_it_fires_as_often_as_it_says(probability: float) -> None:
    count = 4_000
    steps = [flip((Xtc(0.1, probability),), 5, position)[0] for position in range(count)]
    fired = sum(step.probability for step in steps)  # type: ignore[attr-defined]
    deviation = math.sqrt(count * probability * (1 - probability))
    assert abs(fired - count * probability) < 4 * deviation


def test_the_coin_is_neither_the_draw_nor_another_steps_coin() -> None:
    coins = np.array(
        [[uniform(1, position, stream) for stream in range(3)] for position in range(2_000)]
    )
    correlations = np.corrcoef(coins.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(2_000)
    both = [flip((Xtc(0.1, 0.5), Xtc(0.1, 0.5)), 1, position) for position in range(200)]
    assert {(one.probability, two.probability) for one, two in both} == {  # type: ignore[attr-defined]
        (0.0, 0.0),
        (0.0, 1.0),
        (1.0, 0.0),
        (1.0, 1.0),
    }
