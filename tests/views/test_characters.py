"""The next character as data: readable, strict JSON, nothing lost."""

import json
from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.session import CharacterReading, read_characters
from explorer.views.characters import characters_data
from explorer.views.text import printable

VOCABULARY = [b"a", b" b", b"\xe3", b"\x81\x82", b"\x81", b"\xff", b"</s>", b"\xcc\x81"]
SCRIPT = {
    (0,): [0.25, 0.1875, 0.25, 0.0, 0.0, 0.125, 0.125, 0.0625],
    (0, 2): [0.25, 0.0, 0.0, 0.5, 0.25, 0.0, 0.0, 0.0],
}


def reading_of(prefix: tuple[int, ...] = (0,), **more: Any) -> CharacterReading:
    backend = ScriptedBackend(VOCABULARY, SCRIPT, special=[6])
    return read_characters(backend, prefix, (), 1, **more)


def text_of(token_id: int) -> str:
    return printable(VOCABULARY[token_id])


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-12)


def test_all_of_it() -> None:
    data = characters_data(reading_of(bound=0.0, most_passes=1), text_of)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [(row["character"], row["code"]) for row in data["rows"]] == [
        ("a", "U+0061"),
        ("␣", "U+0020"),
        ("あ", "U+3042"),
        ("◌\u0301", "U+0301"),
    ]
    assert data["rows"][2] == {
        "character": "あ",
        "code": "U+3042",
        "raw": near(0.125),
        "final": near(0.125),
        "tokens": 1,
        "ways": [{"token_ids": [2, 3], "texts": ["⟨E3⟩", "⟨81 82⟩"], "raw": near(0.125)}],
    }
    assert data["others"] == {"count": 0, "raw": 0, "final": 0}
    (special,) = data["specials"]
    assert special == {"token_id": 6, "text": "</s>", "raw": near(0.125), "final": near(0.125)}
    assert data["broken"] == {"raw": near(0.1875), "final": near(0.1875)}
    assert data["unexpanded"]["raw"] == near(0.0625)
    assert data["unexpanded"]["pieces"] == [
        {"text": "⟨E3 81⟩", "raw": near(0.0625), "final": near(0.0625)}
    ]
    assert (data["pending"], data["unknown"], data["passes"]) == ("", 0, 1)


def test_what_is_not_listed_is_summed() -> None:
    for reading in (reading_of(most=1), reading_of()):
        data = characters_data(reading, text_of, most=1)
        assert [row["character"] for row in data["rows"]] == ["a"]
        assert data["others"]["count"] == 4
        sums = (data["rows"][0], data["others"], *data["specials"], data["broken"])
        for side in ("raw", "final"):
            left = data["unexpanded"][side]
            assert sum(one[side] for one in sums) + left == near(1)


def test_many_pieces_and_specials_are_counted() -> None:
    vocabulary = [*(b"\xe3" for _ in range(25)), *(b"</s>" for _ in range(12))]
    backend = ScriptedBackend(vocabulary, special=range(25, 37))
    data = characters_data(
        read_characters(backend, (0,), (), 1, most_passes=0), lambda token_id: str(token_id)
    )
    assert (len(data["unexpanded"]["pieces"]), data["unexpanded"]["others"]["count"]) == (20, 5)
    assert data["unexpanded"]["others"]["raw"] == near(5 / 37)
    assert (len(data["specials"]), data["other_specials"]["count"]) == (10, 2)
    assert data["other_specials"]["final"] == near(2 / 37)


def test_pending_bytes_are_shown() -> None:
    data = characters_data(reading_of((0, 2), pending=b"\xe3\x81"), text_of)
    assert data["pending"] == "⟨E3 81⟩"
    assert [row["code"] for row in data["rows"]] == ["U+3041"]
