"""Checks on what a client sent."""

import json
import math
from typing import Any

import pytest

from explorer.decoding import ParameterError, Temperature, TopK, TopP
from explorer.decoding.randomness import MAX_SEED
from explorer.ui.arguments import (
    MAX_ROLE,
    MAX_TEXT,
    chain_argument,
    count_argument,
    flag_argument,
    ids_argument,
    messages_argument,
    seed_argument,
    short,
    text_argument,
)

NOT_TEXT = [None, 3, 0.5, True, [], ["a"], {}, b"a", math.nan]
NOT_FLAG = [None, 0, 1, "true", "", [], {}, math.nan]
NOT_COUNT = [None, True, False, 3.0, 3.5, math.nan, math.inf, "3", "", [], {}, -1, 11, 10**400]
NOT_LIST = [None, 3, True, "1,2", {}, (1, 2), math.nan]


def refused(call: Any, *arguments: Any) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        call(*arguments)
    json.dumps(str(caught.value), ensure_ascii=False).encode()
    return caught.value


@pytest.mark.parametrize("text", ["", "a", "日本語", "\0", "a" * MAX_TEXT])
def test_a_text_is_taken_as_it_is(text: str) -> None:
    assert text_argument("prompt", text) is text


@pytest.mark.parametrize("value", NOT_TEXT)
def test_what_is_no_text_is_refused(value: Any) -> None:
    error = refused(text_argument, "prompt", value)
    assert (error.parameter, error.allowed) == ("prompt", "a text")


def test_a_text_has_a_longest_length() -> None:
    error = refused(text_argument, "prompt", "a" * (MAX_TEXT + 1))
    assert str(error) == (
        "prompt must be a text of at most 2000000 characters, got '2000001 characters'"
    )


@pytest.mark.parametrize("flag", [True, False])
def test_a_flag_is_true_or_false(flag: bool) -> None:
    assert flag_argument("chat", flag) is flag


@pytest.mark.parametrize("value", NOT_FLAG)
def test_what_is_no_flag_is_refused(value: Any) -> None:
    assert refused(flag_argument, "chat", value).allowed == "true or false"


@pytest.mark.parametrize("count", [0, 1, 10])
def test_a_count_in_its_range(count: int) -> None:
    assert count_argument("n", count, 0, 10) == count


@pytest.mark.parametrize("value", NOT_COUNT)
def test_what_is_no_count_in_its_range_is_refused(value: Any) -> None:
    error = refused(count_argument, "n", value, 0, 10)
    assert (error.parameter, error.allowed) == ("n", "a whole number from 0 to 10")


def test_a_huge_count_is_not_repeated_in_full() -> None:
    assert len(str(refused(count_argument, "n", 10**3000, 0, 10))) < 200


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_a_seed_has_64_bits(seed: int) -> None:
    assert seed_argument(seed) == seed


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.0, True, None, "0", math.nan])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    assert refused(seed_argument, seed).parameter == "seed"


def test_a_chain_by_name_or_as_data() -> None:
    assert chain_argument("llama3") == (Temperature(0.6), TopP(0.9))
    assert chain_argument([{"step": "top_k", "k": 3}]) == (TopK(3),)
    assert chain_argument([]) == ()


@pytest.mark.parametrize(
    ("value", "parameter"),
    [
        (None, "chain"),
        (3, "chain"),
        ("", "chain"),
        ("\ud800", "chain"),
        ("x" * 10_000, "chain"),
        ({}, "chain"),
        ([None], "chain[0]"),
        ([[[[]]]], "chain[0]"),
        ([{}], "chain[0].step"),
        ([{"step": "\ud800"}], "chain[0].step"),
        ([{"step": []}], "chain[0].step"),
        ([{"step": "top_p"}], "chain[0].p"),
        ([{"step": "top_p", "p": "\ud800"}], "chain[0].p"),
        ([{"step": "top_p", "p": 1, "\ud800": 1}], "chain[0] (top_p) field"),
        ([{"step": "top_p", "p": math.nan}], "chain[0].p"),
        ([{"step": "top_k", "k": 10**400}], "chain[0].k"),
        ([{"step": "temperature", "temperature": -(10**400)}], "chain[0].temperature"),
        ([{"step": "greedy"}] * 65, "chain"),
    ],
)
def test_a_bad_chain_is_refused_in_few_words(value: Any, parameter: str) -> None:
    error = refused(chain_argument, value)
    assert error.parameter == parameter
    assert len(str(error)) < 400


def test_token_ids() -> None:
    assert ids_argument("prefix_ids", [0, 5, 7]) == (0, 5, 7)
    assert ids_argument("prefix_ids", []) == ()


@pytest.mark.parametrize("value", NOT_LIST)
def test_what_is_no_list_of_token_ids_is_refused(value: Any) -> None:
    assert refused(ids_argument, "prefix_ids", value).allowed == "a list of token ids"


@pytest.mark.parametrize("item", [None, True, 1.0, "1", [], {}, math.nan])
def test_a_bad_token_id_is_named_by_its_place(item: Any) -> None:
    error = refused(ids_argument, "prefix_ids", [0, item])
    assert (error.parameter, error.allowed) == ("prefix_ids[1]", "a whole number")


def test_messages() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}]
    assert messages_argument(messages) == messages


@pytest.mark.parametrize("value", [*NOT_LIST, []])
def test_what_is_no_list_of_messages_is_refused(value: Any) -> None:
    assert refused(messages_argument, value).parameter == "messages"


@pytest.mark.parametrize(
    ("message", "parameter"),
    [
        (None, "messages[0]"),
        ("hi", "messages[0]"),
        ({}, "messages[0]"),
        ({"role": "user"}, "messages[0]"),
        ({"role": "user", "content": "a", "name": "b"}, "messages[0]"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": ["a"]}, "messages[0].content"),
        ({"role": 3, "content": "a"}, "messages[0].role"),
        ({"role": "", "content": "a"}, "messages[0].role"),
        ({"role": "r" * (MAX_ROLE + 1), "content": "a"}, "messages[0].role"),
    ],
)
def test_a_bad_message_is_named_by_its_place(message: Any, parameter: str) -> None:
    assert refused(messages_argument, [message]).parameter == parameter


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        (True, True),
        (0.5, 0.5),
        (7, 7),
        (10**30, "a huge number"),
        (-(10**4000), "a huge number"),
        ("a", "a"),
        ("\ud800", "\\ud800"),
        ([1], "[1]"),
        ({"a": 1}, "{'a': 1}"),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_a_value_in_few_words(value: Any, said: Any) -> None:
    assert short(value) == said


def test_a_large_value_in_few_words() -> None:
    assert len(short(list(range(100_000)))) == 201
