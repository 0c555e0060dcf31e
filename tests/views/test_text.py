"""Bytes as text: everything visible, nothing lost."""

import re
import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.views import plain_text, printable
from explorer.views.text import is_whole, may_grow_whole, readable, split_characters

in_short = settings(max_examples=100, deadline=None)
JAPANESE = "日本語"
FAMILY = "👩\u200d👧"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"", ""),
        (b"the", "the"),
        (b" the", "␣the"),
        (b"  ", "␣␣"),
        (b"\n", "⏎"),
        (b"\r\n", "␍⏎"),
        (b"\t", "⇥"),
        (b"\x00", "␀"),
        (b"\x1b[31m", "␛[31m"),
        (b"\x1f", "␟"),
        (b"\x7f", "␡"),
        (b"<b>&amp;</b>", "<b>&amp;</b>"),
        (b"${1+1}{{x}}", "${1+1}{{x}}"),
        (JAPANESE.encode(), JAPANESE),
        ("é".encode(), "é"),
        ("🙂".encode(), "🙂"),
    ],
)
def test_printable_text(raw: bytes, shown: str) -> None:
    assert printable(raw) == shown


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\u0085", "⟨U+0085⟩"),
        ("\u009f", "⟨U+009F⟩"),
        ("\u00a0", "⟨U+00A0⟩"),
        ("\u00ad", "⟨U+00AD⟩"),
        ("\u200b", "⟨U+200B⟩"),
        ("\u202e", "⟨U+202E⟩"),
        ("\u2028", "⟨U+2028⟩"),
        ("\u2029", "⟨U+2029⟩"),
        ("\u3000", "⟨U+3000⟩"),
        ("\ufeff", "⟨U+FEFF⟩"),
        ("\ufffd", "⟨U+FFFD⟩"),
        ("\ue000", "⟨U+E000⟩"),
        ("\uffff", "⟨U+FFFF⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\U0010fffe", "⟨U+10FFFE⟩"),
    ],
)
def test_what_can_not_be_seen_is_shown_by_its_number(character: str, shown: str) -> None:
    assert printable(character.encode()) == shown
    assert printable(f"a{character}b".encode()) == f"a{shown}b"


def test_a_joiner_inside_an_emoji_is_shown() -> None:
    assert printable(FAMILY.encode()) == "👩⟨U+200D⟩👧"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\xe3\x81", "⟨E3 81⟩"),
        (b"\x81", "⟨81⟩"),
        (b"\x81\x82", "⟨81 82⟩"),
        (b"\xff", "⟨FF⟩"),
        (b"a\xe3\x81", "a⟨E3 81⟩"),
        (b"\x82a", "⟨82⟩a"),
        (b"\xe3\x81 \xe3", "⟨E3 81⟩␣⟨E3⟩"),
        (b"\xc0\xaf", "⟨C0 AF⟩"),  # overlong
        (b"\xed\xa0\x80", "⟨ED A0 80⟩"),  # a surrogate
        (b"\xf4\x90\x80\x80", "⟨F4 90 80 80⟩"),  # beyond U+10FFFF
        ("日".encode() + b"\xe6", "日⟨E6⟩"),
    ],
)
def test_bytes_that_are_no_character_are_shown_in_hex(raw: bytes, shown: str) -> None:
    assert printable(raw) == shown


@pytest.mark.parametrize("mark", ["\u0302", "\u3099", "\u0e31", "\u093e", "\u20dd"])
def test_a_mark_that_nothing_carries_stands_on_a_circle(mark: str) -> None:
    assert printable(f"{mark}a".encode()) == f"◌{mark}a"
    assert printable(f" {mark}".encode()) == f"␣◌{mark}"
    assert printable(f"\u200b{mark}".encode()) == f"⟨U+200B⟩◌{mark}"
    assert printable(f"b{mark}".encode()) == f"b{mark}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u00e9", "\u00e9"),
        ("e\u0301", "e◌\u0301"),
        ("\u304c", "\u304c"),
        ("\u304b\u3099", "\u304b◌\u3099"),  # as a Mac names its files
        ("a\u0323\u0302", "a◌\u0323\u0302"),
        ("b\u0302\u0323", "b\u0302◌\u0323"),  # looks like b\u0323\u0302
        ("\u212b", "⟨U+212B⟩"),  # the unit, not the letter
        ("\u0340", "⟨U+0340⟩"),
        ("\uac00", "\uac00"),
        ("\u1100\u1161", "\u1100⟨U+1161⟩"),
        ("\u09af\u09bc", "\u09af◌\u09bc"),
        ("\u09df", "\u09df"),
        ("\ufb2a", "⟨U+FB2A⟩"),
    ],
)
def test_texts_that_unicode_takes_for_the_same_are_told_apart(text: str, shown: str) -> None:
    assert printable(text.encode()) == shown


@pytest.mark.parametrize(
    "text", ["हिन्दी", "\u09dc\u09df", "สวัสดี", "ไทย", "שָׁלוֹם", "tiếng Việt", "가나다"]
)
def test_scripts_with_marks_stay_readable(text: str) -> None:
    assert printable(text.encode()) == text.replace(" ", "␣")


def test_a_stack_of_marks_ends_after_four() -> None:
    four = 4 * "\u0302"
    assert printable(f"b{four}{four}\u0302".encode()) == f"b{four}◌{four}◌\u0302"


@pytest.mark.parametrize(
    "sign", ["␣", "⏎", "⇥", "␀", "␡", "◌", "⟨", "⟨E3 81⟩", "⟨U+200B⟩", "⟨unused⟩"]
)
def test_what_looks_like_a_sign_is_told_from_it(sign: str) -> None:
    shown = printable(sign.encode())
    assert shown == f"⟨U+{ord(sign[0]):04X}⟩" + sign[1:].replace(" ", "␣")
    assert printable(sign.encode(), special=True) == shown.replace("␣", " ")


@pytest.mark.parametrize(
    "character", ["\ufe0f", "\u034f", "\u115f", "\u3164", "\uffa0", "\U000e0100"]
)
def test_a_token_of_an_ignorable_character_is_not_empty_to_the_eye(character: str) -> None:
    assert printable(character.encode()) != character


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"</s>", "</s>"),
        (b"<|im start|>", "<|im start|>"),
        ("<｜begin▁of▁sentence｜>".encode(), "<｜begin▁of▁sentence｜>"),
        (b"", "⟨unused⟩"),
        (b"\xff", "⟨FF⟩"),
    ],
)
def test_special_tokens_are_shown_by_their_name(raw: bytes, shown: str) -> None:
    assert printable(raw, special=True) == shown


HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
IGNORED = regex.compile(r"\p{Default_Ignorable_Code_Point}|\p{Bidi_Control}")
SIGNS = {chr(0x2400 + code): chr(code) for code in range(0x20)}
SIGNS |= {"␣": " ", "⏎": "\n", "⇥": "\t", "␡": "\x7f", "◌": ""}
SHOWN = re.compile(r"⟨U\+([0-9A-F]+)⟩|⟨([0-9A-F]{2}(?: [0-9A-F]{2})*)⟩|(.)", re.DOTALL)
# What hides, what reorders, what stands for it, and marks, more often than chance has it.
hiding = list("ab \n\t\0⟨⟩␣⏎◌\u200b\u200d\u202e\u2066\ufeff\ufe0f\xa0\u3000\u3164אا")
likeness = list("eÅ\u212b\u0301\u0302\u0323\u0344か\u3099\u1100\u1161\uac00य\u093c\u095f")
written = ["⟨U+200B⟩", "⟨E3 81⟩", "⟨unused⟩"]
tricky = st.lists(
    st.sampled_from(hiding + likeness + written) | st.characters(codec="utf-8"), max_size=20
).map("".join)
tokens = st.binary(max_size=40) | tricky.map(str.encode)


def read_back(shown: str) -> bytes:
    """The token of what is shown."""

    def read(found: re.Match[str]) -> bytes:
        number, broken, character = found.groups()
        if number:
            return chr(int(number, 16)).encode()
        return bytes.fromhex(broken) if broken else SIGNS.get(character, character).encode()

    return b"".join(read(found) for found in SHOWN.finditer(shown))


@in_short
@given(tokens)
def test_a_token_can_be_read_off_what_is_shown(raw: bytes) -> None:
    assert read_back(printable(raw)) == raw  # so no two tokens are shown as one


@pytest.mark.parametrize("plane", [0, 1, 14])  # the others hold Han characters, or nothing
def test_every_character_can_be_read_off_what_is_shown(plane: int) -> None:
    every = range(plane << 16, (plane + 1) << 16)
    raw = " ".join(chr(code) for code in every if not 0xD800 <= code < 0xE000).encode()
    shown = printable(raw)
    assert read_back(shown) == raw
    assert not IGNORED.search(shown)


@in_short
@given(tricky, st.sampled_from(["NFC", "NFD"]))
def test_what_unicode_takes_for_the_same_does_not_look_the_same(text: str, form: str) -> None:
    other = unicodedata.normalize(form, text)
    shown, other_shown = (
        unicodedata.normalize("NFD", printable(one.encode())) for one in (text, other)
    )
    assert (shown == other_shown) == (text == other)


@in_short
@given(tokens)
def test_printable_never_shows_what_can_not_be_seen(raw: bytes) -> None:
    shown = printable(raw)
    outside_hex = re.sub(r"⟨[0-9A-F]{2}( [0-9A-F]{2})*⟩", "", shown)
    assert not {unicodedata.category(character) for character in outside_hex} & HIDDEN
    assert not IGNORED.search(shown)
    assert bool(shown) == bool(raw)


@in_short
@given(tokens)
def test_a_text_keeps_its_spaces_and_lines_and_nothing_else_that_is_unseen(raw: bytes) -> None:
    shown = readable(raw)
    unseen = {one for one in shown if unicodedata.category(one) in HIDDEN}
    assert unseen <= {" ", "\n", "\u3000"} and not IGNORED.search(shown)
    assert read_back(shown) == raw


@in_short
@given(tokens)
def test_special_tokens_hold_no_control_characters_either(raw: bytes) -> None:
    shown = printable(raw, special=True)
    assert not {unicodedata.category(character) for character in shown} & (HIDDEN - {"Zs"})
    assert "\ufffd" not in shown


@in_short
@given(st.text(max_size=50))
def test_plain_text_of_whole_characters_is_the_text(text: str) -> None:
    assert plain_text([text.encode()]) == text


@in_short
@given(st.text(max_size=30), st.lists(st.integers(0, 120), max_size=6))
def test_plain_text_does_not_see_where_tokens_were_cut(text: str, cuts: list[int]) -> None:
    raw = text.encode()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    parts = [raw[start:end] for start, end in pairwise(edges)]
    assert plain_text(parts) == text
    assert plain_text(iter(parts)) == text


def test_plain_text_keeps_only_broken_bytes_in_hex() -> None:
    assert plain_text([b"a \n", b"\xe3\x81", b"\x82", b"\xff", b"b"]) == "a \nあ⟨FF⟩b"
    assert plain_text([]) == ""


@in_short
@given(st.binary(max_size=60))
def test_splitting_loses_no_byte(raw: bytes) -> None:
    parts = list(split_characters(raw))
    assert b"".join(character.encode() + broken for character, broken in parts) == raw
    assert all(bool(character) != bool(broken) for character, broken in parts)


@in_short
@given(st.binary(max_size=30))
def test_hex_in_plain_text_gives_the_bytes_back(raw: bytes) -> None:
    def back(found: re.Match[str]) -> str:
        return bytes.fromhex(found[1]).decode("utf-8", "surrogateescape")

    text = re.sub(r"⟨([0-9A-F]{2}(?: [0-9A-F]{2})*)⟩", back, plain_text([raw]))
    assert text.encode("utf-8", "surrogateescape") == raw


@pytest.mark.parametrize(
    ("raw", "whole", "may_grow"),
    [
        (b"", True, False),
        (b"a", True, False),
        ("日".encode(), True, False),
        (b"\xe6", False, True),
        (b"\xe6\x97", False, True),
        (b"\xf0\x9f\x99", False, True),
        (b"a\xe6\x97", False, True),
        (b"\x97", False, False),
        (b"\xff", False, False),
        (b"\xe6a", False, False),
        (b"\xff\xe6", False, False),
        (b"\xed\xa0", False, False),
    ],
)
def test_whole_and_growing(raw: bytes, whole: bool, may_grow: bool) -> None:
    assert is_whole(raw) is whole
    assert may_grow_whole(raw) is may_grow


@in_short
@given(st.characters(codec="utf-8"))
def test_every_beginning_of_a_character_may_grow(character: str) -> None:
    raw = character.encode()
    assert is_whole(raw)
    assert all(may_grow_whole(raw[:end]) for end in range(1, len(raw)))
