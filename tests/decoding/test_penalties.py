"""Bias, repetition, frequency and presence penalties, and DRY against its definition."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    Dry,
    FrequencyPresencePenalty,
    LogitBias,
    RepetitionPenalty,
    Step,
    Temperature,
    TopK,
    decode,
)
from tests.decoding.strategies import tie_free_logits

INF = math.inf
in_short = settings(max_examples=200, deadline=None)


def logits_after(step: Step, logits: Sequence[float], context: Sequence[int]) -> list[float]:
    """By token id; none must be cut."""
    final = decode(list(logits), [step], context).final
    assert len(final) == len(logits)
    by_id = np.empty(len(logits))
    by_id[final.token_ids] = final.logits
    return by_id.tolist()


def test_a_bias_is_added_to_the_logit() -> None:
    assert logits_after(LogitBias({0: -2.5, 2: 4.0}), [1, 2, 3], ()) == [-1.5, 2, 7]


def test_a_bias_can_bring_tokens_to_a_tie() -> None:
    final = decode([1.0, 3.0, 2.0], [LogitBias({0: 2.0, 2: 1.0})]).final
    assert final.token_ids.tolist() == [0, 1, 2]
    assert final.logits.tolist() == [3, 3, 3]


def test_a_ban_and_a_bias_in_one() -> None:
    trace = decode([1.0, 2.0, 3.0, 4.0], [LogitBias({0: 5.0, 2: -INF, 3: -3.5})])
    assert trace.final.token_ids.tolist() == [0, 1, 3]
    assert trace.final.logits.tolist() == [6, 2, 0.5]
    assert trace.cut_by(2) == "logit_bias"
    assert trace.stages[0].removed.tolist() == [2]


def test_a_bias_on_an_impossible_token_leaves_it_impossible() -> None:
    assert logits_after(LogitBias({0: 100.0}), [-INF, 1.0], ()) == [-INF, 1.0]


def test_a_bias_on_a_token_that_was_cut_does_not_bring_it_back() -> None:
    trace = decode([1.0, 2.0, 3.0], [TopK(2), LogitBias({0: 100.0, 1: 2.0})])
    assert trace.final.token_ids.tolist() == [1, 2]
    assert trace.cut_by(0) == "top_k"


def test_a_bias_is_kept_in_order_of_token_ids_and_takes_ids_as_text() -> None:
    step = LogitBias({"7": 1, 3: None, "05": 0.5})  # type: ignore[dict-item]
    assert step.bias == ((3, -INF), (5, 0.5), (7, 1.0))
    assert step == LogitBias(((7, 1.0), (5, 0.5), (3, -INF)))
    assert hash(step) == hash(LogitBias(step.bias))


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (2.0, [1.0, 3.0, -2.0, 0.0, -0.5]),
        (0.5, [4.0, 3.0, -0.5, 0.0, -0.125]),
        (1.0, [2.0, 3.0, -1.0, 0.0, -0.25]),
    ],
)
def test_repetition_divides_above_0_and_multiplies_below(
    penalty: float, expected: list[float]
) -> None:
    context = [0, 2, 0, 0, 3, 4]
    assert logits_after(RepetitionPenalty(penalty), [2, 3, -1, 0, -0.25], context) == expected


@pytest.mark.parametrize(
    ("window", "penalised"),
    [(0, {0, 1, 2}), (1, {2}), (2, {1, 2}), (4, {0, 1, 2}), (99, {0, 1, 2})],
)
def test_a_window_is_the_last_tokens_of_the_context(window: int, penalised: set[int]) -> None:
    context = [0, 2, 1, 2]
    after = logits_after(RepetitionPenalty(2, window), [4, 4, 4, 4], context)
    assert {i for i in range(4) if after[i] == 2} == penalised
    after = logits_after(FrequencyPresencePenalty(0, 2, window), [4, 4, 4, 4], context)
    assert {i for i in range(4) if after[i] == 2} == penalised


def test_frequency_counts_and_presence_does_not() -> None:
    context = [1, 2, 1, 1, 9]
    step = FrequencyPresencePenalty(0.5, 0.25)
    assert logits_after(step, [1, 1, 1], context) == [1, 1 - 1.5 - 0.25, 1 - 0.5 - 0.25]
    assert logits_after(FrequencyPresencePenalty(0.5), [1, 1, 1], context) == [1, -0.5, 0.5]
    assert logits_after(FrequencyPresencePenalty(0, 0.25), [1, 1, 1], context) == [1, 0.75, 0.75]


def test_negative_penalties_invite_repetition() -> None:
    step = FrequencyPresencePenalty(-0.5, -1.0)
    assert logits_after(step, [1, 1], [0, 0]) == [3, 1]


def test_repetition_comes_before_frequency_when_the_chain_says_so() -> None:
    # 4 / 2 - 1 = 1; the other way round (4 - 1) / 2 = 1.5.
    repetition, frequency = RepetitionPenalty(2), FrequencyPresencePenalty(1)
    assert decode([4.0], [repetition, frequency], [0]).final.logits.tolist() == [1.0]
    assert decode([4.0], [frequency, repetition], [0]).final.logits.tolist() == [1.5]


@in_short
@given(
    tie_free_logits,
    st.lists(st.integers(0, 45), max_size=60),
    st.sampled_from([-1.3, 0.0, 0.7]),
    st.sampled_from([-0.9, 0.0, 1.1]),
    st.integers(0, 70),
)
def test_frequency_and_presence_are_openais(
    logits: NDArray[np.float64],
    context: list[int],
    frequency: float,
    presence: float,
    window: int,
) -> None:
    # mu[j] - c[j] · alpha_frequency - float(c[j] > 0) · alpha_presence
    counts = Counter(context[-window:] if window else context)
    expected = [
        logit - counts[j] * frequency - float(counts[j] > 0) * presence
        for j, logit in enumerate(logits)
    ]
    step = FrequencyPresencePenalty(frequency, presence, window)
    assert logits_after(step, logits, context) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("context", "penalties"),
    [
        ([], {}),
        ([0], {}),
        ([0, 0], {}),  # "0" came with 0 after it: one token, and two are allowed
        ([0, 0, 0], {0: 1}),  # "0 0" overlaps itself: m = 2, 2^0
        ([0, 0, 0, 0], {0: 2}),  # m = 3
        ([1, 2, 0, 1, 2], {0: 1}),
        ([4, 1, 2, 0, 4, 1, 2], {0: 2}),
        # 0 came after "3 1 2", which ends alike for 2, and after "0 4 1 2", for 4: 2^(4 - 2).
        ([3, 1, 2, 0, 4, 1, 2, 0, 0, 4, 1, 2], {0: 4}),
        ([1, 2, 0, 1, 2, 3, 1, 2], {0: 1, 3: 1}),
        ([2, 0, 2], {}),  # only "2" is repeated
    ],
)
def test_dry_by_hand(context: list[int], penalties: dict[int, float]) -> None:
    after = logits_after(Dry(1.0, base=2.0), [0.0] * 5, context)
    assert {i: -value for i, value in enumerate(after) if value} == penalties


def test_dry_multiplies_by_the_base_for_each_token_beyond_the_allowed() -> None:
    context = [5, 6, 7, 8, 0, 5, 6, 7, 8]  # m = 4
    for allowed, beyond in [(1, 3), (2, 2), (4, 0)]:
        after = logits_after(Dry(0.8, 1.75, allowed), [0.0] * 9, context)
        assert after[0] == pytest.approx(-0.8 * 1.75**beyond)
    assert logits_after(Dry(0.8, 1.75, 5), [0.0] * 9, context) == [0.0] * 9


def test_dry_stops_at_breakers() -> None:
    context = [5, 6, 7, 0, 5, 6, 7]  # m = 3
    assert logits_after(Dry(1, 2, 1), [0.0] * 8, context)[0] == -4
    assert logits_after(Dry(1, 2, 1, breakers=(5,)), [0.0] * 8, context)[0] == -2  # "6 7"
    assert logits_after(Dry(1, 2, 1, breakers=(6,)), [0.0] * 8, context)[0] == -1  # "7"
    assert logits_after(Dry(1, 2, 1, breakers=(7,)), [0.0] * 8, context) == [0.0] * 8
    assert logits_after(Dry(1, 2, 1, breakers=(0,)), [0.0] * 8, context) == [0.0] * 8
    assert logits_after(Dry(1, 2, 1, breakers=(1, 99)), [0.0] * 8, context)[0] == -4


def dry_by_definition(context: list[int], size: int, step: Dry) -> list[float]:
    """Every length at every place, one token at a time."""
    said = context[-step.window :] if step.window else context
    penalties = [0.0] * size
    for token_id in set(range(size)) - set(step.breakers):
        longest = 0
        for place in range(len(said)):
            if said[place] != token_id:
                continue
            for m in range(1, place + 1):
                end = said[len(said) - m :]
                if said[place - m : place] == end and not set(end) & set(step.breakers):
                    longest = max(longest, m)
        if longest >= step.allowed_length:
            penalties[token_id] = step.multiplier * step.base ** (longest - step.allowed_length)
    return penalties


# Few ids, so that much is repeated; and texts that are one phrase over and over.
texts = st.lists(st.integers(0, 3), max_size=40) | st.builds(
    lambda phrase, times, end: phrase * times + end,
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.integers(1, 6),
    st.lists(st.integers(0, 4), max_size=3),
)


@settings(max_examples=500, deadline=None)
@given(
    texts,
    st.integers(1, 5),
    st.integers(0, 30),
    st.lists(st.integers(0, 6), max_size=2),
    st.sampled_from([1.0, 1.1, 1.75]),
)
def test_dry_is_its_definition(
    context: list[int], allowed: int, window: int, breakers: list[int], base: float
) -> None:
    step = Dry(0.7, base, allowed, window, tuple(breakers))
    expected = [-penalty for penalty in dry_by_definition(context, 6, step)]
    assert logits_after(step, [0.0] * 6, context) == pytest.approx(expected)


def test_dry_grows_without_a_cap_as_far_as_a_float_goes() -> None:
    # 200 times the same: m = 199, 197 beyond the two allowed.
    after = logits_after(Dry(0.8, 1.75), [0.0, 0.0], [0] * 200)
    assert after == pytest.approx([-0.8 * 1.75**197, 0])


def test_dry_of_a_long_repetition_stays_finite() -> None:
    for base in (1.0, 1.75, 100.0):
        after = logits_after(Dry(100, base), [0.0, 1.0], [0] * 5_000)
        assert math.isfinite(after[0])
        assert after[0] <= -100
        assert after[1] == 1.0
    assert decode([0.0, 1.0], [Dry(100, 100)], [0] * 5_000).probabilities.tolist() == [0, 1]


@pytest.mark.parametrize(
    "step",
    [
        LogitBias({0: -3.0}),
        RepetitionPenalty(3.0),
        FrequencyPresencePenalty(1.0, 1.0),
        Dry(2.0, allowed_length=1),
    ],
)
def test_a_penalty_moves_a_token_down_the_ranking(step: Step) -> None:
    final = decode([3.0, 2.5, 2.0], [step, Temperature(0.5)], [0, 0]).final
    assert final.token_ids.tolist() == [1, 2, 0]
    assert final.logits[0] == 5.0


@in_short
@given(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30),
    st.dictionaries(st.integers(0, 35), st.integers(-4, 4).map(float), max_size=12),
)
def test_moved_tokens_stand_where_a_whole_sort_puts_them(
    logits: list[float], bias: dict[int, float]
) -> None:
    moved = [logit + bias.get(i, 0.0) for i, logit in enumerate(logits)]
    expected = sorted(range(len(moved)), key=lambda i: (-moved[i], i))
    final = decode(logits, [LogitBias(bias)]).final
    assert final.token_ids.tolist() == expected
    assert final.logits.tolist() == [moved[i] for i in expected]
