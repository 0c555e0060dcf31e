"""Chips: one for each token, or for the byte tokens that make a character."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.session import PathToken
from explorer.views import strip_chips
from explorer.views.strip import pending_bytes


def path_of(*raws: bytes | str, probability: float | None = 0.5) -> list[PathToken]:
    """Tokens of these bytes; a `str` is a special token."""
    logprob = None if probability is None else math.log(probability)
    return [
        PathToken(
            position=position,
            token_id=100 + position,
            raw=raw.encode() if isinstance(raw, str) else raw,
            special=isinstance(raw, str),
            logprob=logprob,
            rank=None if logprob is None else 2,
            entropy=None if logprob is None else 1.0,
            how="prompt",
        )
        for position, raw in enumerate(raws)
    ]


def texts(chips: list[dict[str, Any]]) -> list[str]:
    return [chip["text"] for chip in chips]


def sizes(chips: list[dict[str, Any]]) -> list[int]:
    return [len(chip["parts"]) for chip in chips]


def test_no_token_no_chip() -> None:
    assert strip_chips([]) == []


def test_one_chip_for_each_whole_token() -> None:
    assert texts(strip_chips(path_of(b"The", b" cat", b"\n"))) == ["The", "␣cat", "⏎"]


def test_a_chip_and_its_part() -> None:
    token = PathToken(3, 7, b" a", False, math.log(0.25), 2, 1.0, "sampled", 0.5)
    assert strip_chips([token]) == [
        {
            "text": "␣a",
            "special": False,
            "prompt": False,
            "breaks": False,
            "probability": pytest.approx(0.25),
            "parts": [
                {
                    "position": 3,
                    "token_id": 7,
                    "bytes_hex": "2061",
                    "text": "␣a",
                    "probability": pytest.approx(0.25),
                    "rank": 2,
                    "surprisal": pytest.approx(2),
                    "entropy": pytest.approx(1 / math.log(2)),  # 1 nat in bits
                    "how": "sampled",
                    "u": 0.5,
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("raws", "expected"),
    [
        ([b"\xe3\x81", b"\x82"], ["あ"]),
        ([b"\xe3", b"\x81", b"\x82"], ["あ"]),
        ([b"\xf0", b"\x9f", b"\x99", b"\x82"], ["🙂"]),
        ([b"a", b"\xe3\x81", b"\x82", b"b"], ["a", "あ", "b"]),
        ([b" \xe3\x81", b"\x82"], ["␣あ"]),
        ([b"\xe3\x81", b"\x82!"], ["あ!"]),
        ([b"\xe3\x81", b"\x82\xe3", b"\x81\x84"], ["あい"]),
        ([b"\xe3\x81", b"", b"\x82"], ["あ"]),
    ],
)
def test_byte_tokens_that_make_a_character_are_one_chip(
    raws: list[bytes], expected: list[str]
) -> None:
    assert texts(strip_chips(path_of(*raws))) == expected


@pytest.mark.parametrize(
    ("raws", "expected"),
    [
        ([b"\xe3\x81"], ["⟨E3 81⟩"]),
        ([b"\xe3", b"\x81"], ["⟨E3⟩", "⟨81⟩"]),
        ([b"\xe3", b"\x81", b"a"], ["⟨E3⟩", "⟨81⟩", "a"]),
        ([b"\xe3", b"\xe3\x81", b"\x82"], ["⟨E3⟩", "あ"]),
        ([b"\x81", b"\x82"], ["⟨81⟩", "⟨82⟩"]),
        ([b"\xff", b"a"], ["⟨FF⟩", "a"]),
        ([b"\xe3", "</s>", b"\x81\x82"], ["⟨E3⟩", "</s>", "⟨81 82⟩"]),
        ([b"\xe3\x81", "日".encode()], ["⟨E3 81⟩", "日"]),
    ],
)
def test_bytes_that_never_become_a_character_stand_alone(
    raws: list[bytes | str], expected: list[str]
) -> None:
    chips = strip_chips(path_of(*raws))
    assert texts(chips) == expected


def test_a_joined_chip_holds_its_parts() -> None:
    (chip,) = strip_chips(path_of(b"\xe3", b"\x81", b"\x82"))
    assert [part["position"] for part in chip["parts"]] == [0, 1, 2]
    assert [part["text"] for part in chip["parts"]] == ["⟨E3⟩", "⟨81⟩", "⟨82⟩"]
    assert [part["bytes_hex"] for part in chip["parts"]] == ["e3", "81", "82"]


def test_a_joined_chip_has_the_probability_of_all_its_parts() -> None:
    (chip,) = strip_chips(path_of(b"\xe3", b"\x81", b"\x82", probability=0.5))
    assert chip["probability"] == pytest.approx(0.125)


def test_one_unknown_part_makes_the_whole_unknown() -> None:
    first, *rest = path_of(b"\xe3", b"\x81", b"\x82")
    unknown = path_of(b"\xe3", probability=None)[0]
    assert strip_chips([unknown, *rest])[0]["probability"] is None
    assert first.probability == pytest.approx(0.5)


def test_the_first_token_has_no_probability() -> None:
    (chip,) = strip_chips(path_of(b"a", probability=None))
    assert chip["probability"] is None
    assert chip["parts"][0]["surprisal"] is None


def test_special_tokens_are_chips_of_their_own() -> None:
    special, text, empty = strip_chips(path_of("<|end|>", b"<|end|>", ""))
    assert (special["special"], text["special"], empty["special"]) == (True, False, True)
    assert special["text"] == text["text"] == "<|end|>"
    assert empty["text"] == "⟨unused⟩"


@pytest.mark.parametrize(("raw", "breaks"), [(b"\n", True), (b"a\n\n", True), (b"\na", False)])
def test_a_newline_at_the_end_breaks_the_line(raw: bytes, breaks: bool) -> None:
    assert strip_chips(path_of(raw))[0]["breaks"] is breaks


def test_a_special_token_breaks_no_line() -> None:
    assert strip_chips(path_of("<nl>\n"))[0]["breaks"] is False


def test_a_character_that_a_draw_completed_is_not_of_the_prompt() -> None:
    begun, *_ = path_of(b"\xe3\x81")
    drawn = PathToken(1, 5, b"\x82", False, -1.0, 1, 1.0, "sampled", 0.5)
    assert [chip["prompt"] for chip in strip_chips([begun, drawn])] == [False]
    assert [chip["prompt"] for chip in strip_chips([begun])] == [True]


@pytest.mark.parametrize(
    ("start", "expected"), [(0, ["a", "あ", "b"]), (1, ["あ", "b"]), (3, ["b"]), (9, [])]
)
def test_a_window_starts_later(start: int, expected: list[str]) -> None:
    assert texts(strip_chips(path_of(b"a", b"\xe3\x81", b"\x82", b"b"), start)) == expected


def test_a_window_may_start_inside_a_character() -> None:
    chips = strip_chips(path_of(b"a", b"\xe3\x81", b"\x82", b"b"), 2)
    assert texts(chips) == ["⟨82⟩", "b"]
    assert chips[0]["parts"][0]["position"] == 2


def test_an_impossible_token_is_still_json() -> None:
    token = PathToken(1, 5, b"a", False, -math.inf, 9, 1.0, "picked")
    chips = strip_chips([token])
    assert chips[0]["probability"] == 0
    json.dumps(chips, allow_nan=False)


@pytest.mark.parametrize(
    ("raws", "pending"),
    [
        ([b"\x82\xe3"], b"\xe3"),  # stray bytes before it
        ([b"\xff\xe3\x81"], b"\xe3\x81"),
        ([b"\xe3", b"a\xf0", b"\x9f\x98"], b"\xf0\x9f\x98"),
        ([], b""),
        ([b"a"], b""),
        ([b"\xe3"], b"\xe3"),
        ([b"\xe3\x81"], b"\xe3\x81"),
        ([b"\xe3", b"\x81"], b"\xe3\x81"),
        ([b"a\xe3", b"\x81"], b"\xe3\x81"),
        ([b"\xf0", b"\x9f", b"\x99"], b"\xf0\x9f\x99"),
        ([b"\xf0", b"\x9f", b"\x99", b"\x82"], b""),
        ([b"\xe3", b"\x81", b"\x82"], b""),
        ([b"\xe3", b"a"], b""),
        ([b"\xff", b"\xe3"], b"\xe3"),
        ([b"\xff"], b""),
        ([b"\x81"], b""),
        ([b"\xe3", "</s>"], b""),
        (["</s>", b"\xe3"], b"\xe3"),
        ([b"\xe3", b"\x81\x82\xe3"], b"\xe3"),
    ],
)
def test_bytes_that_wait_for_the_rest_of_their_character(
    raws: list[bytes | str], pending: bytes
) -> None:
    assert pending_bytes(path_of(*raws)) == pending


pieces = st.lists(st.sampled_from([b"\xe3", b"\x81", b"\x82", b"a", b"\xff", b"", "<s>"]))


@settings(max_examples=100, deadline=None)
@given(pieces)
def test_every_token_is_in_exactly_one_chip(raws: list[bytes | str]) -> None:
    chips = strip_chips(path_of(*raws))
    positions = [part["position"] for chip in chips for part in chip["parts"]]
    assert positions == list(range(len(raws)))


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_a_text_cut_into_bytes_is_joined_to_its_characters(text: str) -> None:
    chips = strip_chips(path_of(*[bytes([byte]) for byte in text.encode()]))
    assert sizes(chips) == [len(character.encode()) for character in text]
    assert pending_bytes(path_of(*[bytes([byte]) for byte in text.encode()])) == b""
