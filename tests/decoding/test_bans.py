"""What is forbidden: sequences, n-grams, and what a grammar doesn't allow."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.decoding import (
    BannedSequences,
    Constraint,
    NoRepeatNgram,
    Step,
    TopK,
    Xtc,
    chain_to_json,
    decode,
)
from tests.decoding.strategies import Only

in_short = settings(max_examples=200, deadline=None)


def kept(step: Step, context: Sequence[int], size: int = 4) -> list[int]:
    return decode(-np.arange(size) / 10, [step], context).final.token_ids.tolist()


@pytest.mark.parametrize(
    ("sequences", "context", "survivors"),
    [
        ([], [], [0, 1, 2, 3]),
        ([[1]], [], [0, 2, 3]),
        ([[1], [3], [1]], [0], [0, 2]),
        ([[9, 2]], [9], [0, 1, 3]),
        ([[9, 2]], [9, 0], [0, 1, 2, 3]),
        ([[9, 8, 2]], [9, 8], [0, 1, 3]),
        ([[9, 8, 2]], [8], [0, 1, 2, 3]),  # the context is shorter than what must stand before
        ([[9, 8, 2]], [7, 9, 8], [0, 1, 3]),
        ([[0, 0, 0]], [0, 0], [1, 2, 3]),
        ([[99], [1, 99]], [1], [0, 1, 2, 3]),  # no such token
    ],
)
def test_the_last_token_of_a_banned_sequence_goes_when_the_rest_was_said(
    sequences: list[list[int]], context: list[int], survivors: list[int]
) -> None:
    assert kept(BannedSequences(sequences), context) == survivors


@pytest.mark.parametrize(
    ("n", "context", "survivors"),
    [
        (0, [0, 0, 0], [0, 1, 2, 3]),
        (1, [], [0, 1, 2, 3]),
        (1, [2, 0, 2], [1, 3]),
        (1, [99, 2], [0, 1, 3]),
        (2, [0], [0, 1, 2, 3]),
        (2, [0, 0], [1, 2, 3]),
        (2, [0, 1, 0], [0, 2, 3]),
        (2, [0, 1, 0, 2, 0], [0, 3]),
        (3, [0, 1], [0, 1, 2, 3]),
        (3, [0, 1, 2, 0, 1], [0, 1, 3]),
        (3, [1, 2, 0, 1], [0, 1, 2, 3]),
        (5, [0, 0, 0, 0], [0, 1, 2, 3]),  # four tokens are no five
        (5, [0, 0, 0, 0, 0], [1, 2, 3]),
        (2**31 - 1, [0] * 50, [0, 1, 2, 3]),
    ],
)
def test_an_ngram_is_said_once(n: int, context: list[int], survivors: list[int]) -> None:
    assert kept(NoRepeatNgram(n), context) == survivors


@in_short
@given(st.integers(1, 5), st.lists(st.integers(0, 5), max_size=30))
def test_no_repeat_ngram_is_its_definition(n: int, context: list[int]) -> None:
    said = {tuple(context[i : i + n]) for i in range(len(context) - n + 1)}
    start = tuple(context[len(context) - n + 1 :]) if n > 1 else ()
    free = [i for i in range(8) if (*start, i) not in said]
    assert kept(NoRepeatNgram(n), context, 8) == free


@in_short
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=6),
    st.lists(st.integers(0, 4), max_size=6),
)
def test_banned_sequences_are_their_definition(
    sequences: list[list[int]], context: list[int]
) -> None:
    free = []
    for token_id in range(6):
        text = [*context, token_id]
        ends = (text[max(0, len(text) - len(sequence)) :] for sequence in sequences)
        if not any(end == sequence for end, sequence in zip(ends, sequences, strict=True)):
            free.append(token_id)
    assert kept(BannedSequences(sequences), context, 6) == free


@pytest.mark.parametrize(
    "step",
    [
        BannedSequences([[0], [1], [2], [3]]),
        NoRepeatNgram(1),
        Constraint(regex="x").bound(Only(())),
        Constraint(regex="x").bound(Only((17,))),
    ],
)
def test_when_everything_is_banned_the_most_probable_stays(step: Step) -> None:
    trace = decode([1.0, 3.0, 2.0, 0.0], [step], [0, 1, 2, 3])
    assert trace.final.token_ids.tolist() == [1]
    assert trace.probabilities.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "step",
    [
        BannedSequences([[0], [2]]),
        NoRepeatNgram(1),
        Constraint(json_schema="{}").bound(Only((1, 3))),
    ],
)
def test_when_every_possible_token_is_banned_the_most_probable_stays(step: Step) -> None:
    trace = decode([2.0, -np.inf, 3.0, -np.inf], [step], [0, 2])
    assert trace.final.token_ids.tolist() == [2]
    assert trace.probabilities.tolist() == [0, 0, 1, 0]


def test_a_constraint_keeps_what_the_grammar_allows() -> None:
    trace = decode([3.0, 2.0, 1.0, 0.0], [Constraint(regex="x").bound(Only((3, 1)))])
    assert trace.final.token_ids.tolist() == [1, 3]
    assert [trace.cut_by(i) for i in range(4)] == ["constraint", None, "constraint", None]
    # e² against 1, renormalised
    assert trace.probabilities[1] == pytest.approx(1 / (1 + np.exp(-2)))


def test_a_constraint_asks_its_grammar_about_the_context() -> None:
    asked = []

    class Grammar(Only):
        def fit(self, context: Sequence[int]) -> str:  # type: ignore[override]
            asked.append(tuple(context))
            return "open"

    decode([3.0, 2.0], [Constraint(regex="x").bound(Grammar((0,)))], (7, 8))
    assert asked == [(7, 8)]


def test_a_text_that_no_longer_fits_is_not_constrained() -> None:
    step = Constraint(regex="x").bound(Only((3,), "broken"))
    trace = decode([3.0, 2.0, 1.0, 0.0], [step])
    assert trace.final is trace.distribution.candidates


def test_a_complete_text_is_still_constrained_to_its_end() -> None:
    step = Constraint(regex="x").bound(Only((3,), "complete"))
    assert kept(step, ()) == [3]


def test_a_constraint_after_other_rules_keeps_the_best_of_what_they_left() -> None:
    step = Constraint(regex="x").bound(Only((3,)))
    assert decode([3.0, 2.0, 1.0, 0.0], [TopK(2), step]).final.token_ids.tolist() == [0]
    assert decode([3.0, 2.9, 1.0, 0.0], [Xtc(0.3), step, TopK(1)]).final.token_ids.tolist() == [3]


def test_a_constraint_must_be_bound_to_be_applied() -> None:
    with pytest.raises(ValueError, match="must be bound"):
        decode([1.0, 0.0], [Constraint(regex="x")])


def test_a_bound_constraint_is_the_same_value_and_the_same_json() -> None:
    free = Constraint(regex="[0-9]+")
    bound = free.bound(Only((1,)))
    assert bound == free
    assert free.grammar is None
    assert repr(bound) == repr(free)
    there = [{"step": "constraint", "regex": "[0-9]+", "json_schema": ""}]
    assert chain_to_json([bound]) == chain_to_json([free]) == there
