"""Bytes as text that can be read: nothing invisible, nothing lost, never "�"."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥", "\x7f": "␡", "\ufffd": "⟨U+FFFD⟩"}

BLANKS = "\u115f\u1160\u3164\uffa0"  # Hangul fillers


def printable(raw: bytes, *, special: bool = False) -> str:
    """A token as it is shown: every character visible, bytes that are no character in hex.

    >>> printable(b" the"), printable(b"\\n\\t\\x00"), printable("日".encode()[:2])
    ('␣the', '⏎⇥␀', '⟨E6 97⟩')
    """
    return _printable(raw, special)


@lru_cache(maxsize=65_536)  # the same tokens come again: in texts, tables and trees
def _printable(raw: bytes, special: bool) -> str:
    if special and not raw:
        return "⟨unused⟩"
    shown = []
    for character, broken in split_characters(raw):
        if special and character == " ":
            shown.append(character)  # part of a name such as "<|fim prefix|>", not a space
        else:
            shown.append(_visible(character) if character else _hex(broken))
    text = "".join(shown)
    # A mark would hang on whatever stands before the token, or not be seen at all.
    return f"◌{text}" if text and unicodedata.category(text[0]).startswith("M") else text


def plain_text(raws: Iterator[bytes] | list[bytes]) -> str:
    """Tokens as the text they spell; only bytes that are no character stay in hex."""
    return "".join(
        character or _hex(broken) for character, broken in split_characters(b"".join(raws))
    )


def split_characters(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The UTF-8 characters of `raw` in order; a run of bytes that are none comes as ("", bytes).

    >>> list(split_characters("é".encode() + b"\\xe3\\x81"))
    [('é', b''), ('', b'\\xe3\\x81')]
    """
    start = 0
    while start < len(raw):
        try:
            yield from ((character, b"") for character in raw[start:].decode())
            return
        except UnicodeDecodeError as error:
            good, bad = start + error.start, start + error.end
            yield from ((character, b"") for character in raw[start:good].decode())
            while bad < len(raw) and 0x80 <= raw[bad] < 0xC0:
                bad += 1  # stray continuation bytes belong to the same run
            yield "", raw[good:bad]
            start = bad


def is_whole(raw: bytes) -> bool:
    """Whether the bytes are complete characters."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def may_grow_whole(raw: bytes) -> bool:
    """Whether more bytes could complete the last character."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _visible(character: str) -> str:
    if character in VISIBLE:
        return VISIBLE[character]
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))  # the Unicode picture of a control character
    # Other controls, format characters, wide spaces, private and unassigned ones, and fillers
    # that are letters by category and blank to the eye: by number.
    if character in BLANKS or unicodedata.category(character) in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zs",
        "Zl",
        "Zp",
    ):
        return f"⟨U+{ord(character):04X}⟩"
    return character


def _hex(raw: bytes) -> str:
    return f"⟨{raw.hex(' ').upper()}⟩"
