"""A watched word as data."""

import json

import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import TopK
from explorer.session import FirstToken, Likelihood, WordReading, read_word
from explorer.views.text import printable
from explorer.views.words import words_data

VOCABULARY = [b"a", b" Pa", b"ris", b" Paris", b" Parisian"]
ZERO = Likelihood(-float("inf"), -float("inf"))


def text_of(token_id: int) -> str:
    return printable(VOCABULARY[token_id])


def test_all_of_it() -> None:
    backend = ScriptedBackend(
        VOCABULARY, {(0,): [0.25, 0.125, 0.0, 0.5, 0.125], (0, 1): [0.5, 0.0, 0.5, 0.0, 0.0]}
    )
    data = words_data(read_word(backend, (0,), (TopK(1),), 1, " Paris"), text_of)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["text"] == " Paris"
    assert data["tokens"] == [{"token_id": 3, "text": "␣Paris"}]
    assert data["first"] == {
        "token_id": 3,
        "text": "␣Paris",
        "rank": 1,
        "raw": pytest.approx(0.5),
        "final": 1,
        "cut_by": None,
    }
    assert data["canonical"] == {
        "raw": pytest.approx(0.5),
        "final": 1,
        "raw_bits": pytest.approx(1),
        "final_bits": 0,
    }
    assert data["spelled"]["raw"] == pytest.approx(0.5 + 0.125 * 0.5)
    assert data["spelled"]["tokenisations"] == 2
    assert data["begins"]["raw"] == pytest.approx(0.5 + 0.125 * 0.5 + 0.125)
    assert data["unexplored"] == {"raw": 0, "final": 0, "raw_bits": None, "final_bits": None}
    assert data["passes"] == 2


def test_what_is_not_there_and_what_is_unknown() -> None:
    nothing = WordReading("q", None, None, None, ZERO, 0, ZERO, ZERO, 1)
    data = words_data(nothing, text_of)
    assert (data["tokens"], data["first"], data["canonical"]) == (None, None, None)
    assert data["spelled"]["raw_bits"] is None
    kept_back = WordReading(
        "a", (0,), FirstToken(0, None, None, None), None, ZERO, 0, ZERO, ZERO, 1
    )
    first = words_data(kept_back, text_of)["first"]
    assert (first["rank"], first["raw"], first["final"], first["cut_by"]) == (None,) * 4


def test_a_first_token_that_a_server_did_not_send_stands_below_those_it_sent() -> None:
    server = ScriptedBackend([b"a", b"b", b"c"], {(0,): [0.5, 0.3, 0.2]}, top_n=2)
    first = words_data(read_word(server, (0,), (), 1, "c"), str)["first"]
    assert (first["rank"], first["rank_above"], first["raw"]) == (None, 2, None)
