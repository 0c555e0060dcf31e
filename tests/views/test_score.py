"""The series of the score chart: bits at every position."""

import math
from dataclasses import replace

import pytest

from explorer.session import PathToken
from explorer.views.score import score_series

TOKEN = PathToken(0, 7, b" a", False, math.log(0.25), 2, 1.0, "prompt")


def test_bits_at_every_position_and_the_tokens_texts() -> None:
    end = replace(TOKEN, raw=b"</s>", special=True, logprob=0.0, entropy=0.0)
    assert score_series([TOKEN, end]) == {
        "surprisal": [2.0, 0.0],
        "entropy": [round(1 / math.log(2), 4), 0.0],  # 1 nat
        "texts": ["␣a", "</s>"],
    }


@pytest.mark.parametrize("logprob", [None, -math.inf])
def test_what_is_unknown_or_endless_is_none(logprob: float | None) -> None:
    found = score_series([replace(TOKEN, logprob=logprob, entropy=None)])
    assert (found["surprisal"], found["entropy"]) == ([None], [None])


def test_a_text_of_thousands_of_tokens_is_all_there() -> None:
    found = score_series([TOKEN] * 5000)
    assert {len(column) for column in found.values()} == {5000}
