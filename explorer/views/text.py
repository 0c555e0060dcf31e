"""Bytes as text that can be read: nothing invisible, nothing lost, never "�", no two alike."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

CONTROLS = {chr(code): chr(0x2400 + code) for code in range(0x20)}  # the Unicode pictures
SIGNS = {**CONTROLS, " ": "␣", "\n": "⏎", "\t": "⇥", "\x7f": "␡"}
CIRCLE = "◌"  # carries a mark that nothing else carries
# What means something here is shown by its number where a token holds it as such.
TAKEN = frozenset([*CONTROLS.values(), *SIGNS.values(), CIRCLE, "⟨"])

# Letters, marks and symbols by category, but blank to the eye: Hangul and Khitan fillers, Khmer
# inherent vowels, what selects or joins, and empty cells of Braille, music and hieroglyphs.
BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc\ufffd"
    "\U0001d159\U00013441\U00013442\U00016fe4"
) | {chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}
UNSEEN = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"])

# Letters with a dot that Unicode's normal form takes apart, but keyboards of India have as one.
DOTTED = (
    "\u0958\u0959\u095a\u095b\u095c\u095d\u095e\u095f\u09dc\u09dd"
    "\u09df\u0a33\u0a36\u0a59\u0a5a\u0a5b\u0a5e\u0b5c\u0b5d"
)
APART = {unicodedata.normalize("NFD", letter): letter for letter in DOTTED}
EACH_APART = re.compile("|".join(APART))

MOST_MARKS = 4  # on one character: a taller stack would stand in other people's lines
KEPT_IN_TEXT = frozenset(" \n\u3000")


def printable(raw: bytes, *, special: bool = False) -> str:
    """A token as it is shown: every character visible, bytes that are no character in hex.

    No two tokens look alike: the bytes can be read off what is shown.

    >>> printable(b" the"), printable(b"\\n\\t\\x00"), printable("日".encode()[:2])
    ('␣the', '⏎⇥␀', '⟨E6 97⟩')
    >>> printable("a\\u200b".encode()), printable("⟨␣".encode()), printable("e\\u0301".encode())
    ('a⟨U+200B⟩', '⟨U+27E8⟩⟨U+2423⟩', 'e◌́')
    """
    return _printable(raw, special)


@lru_cache(maxsize=65_536)  # the same tokens come again: in texts, tables and trees
def _printable(raw: bytes, special: bool) -> str:
    if special and not raw:
        return "⟨unused⟩"
    # A space in a name such as "<|fim prefix|>" is part of the name.
    return _shown(raw, frozenset(" ") if special else frozenset())


def readable(raw: bytes) -> str:
    """A text as it is shown: as `printable`, but with its spaces and line breaks.

    >>> readable(" a\\u202eb\\n".encode())
    ' a⟨U+202E⟩b\\n'
    """
    return _shown(raw, KEPT_IN_TEXT)


def _shown(raw: bytes, keep: frozenset[str]) -> str:
    shown = []
    stem = ""  # what a mark would stand on: a character and the marks that it has already
    for character, broken in split_characters(raw):
        sign = character if character in keep else _sign(character) if character else _hex(broken)
        mark = not sign and unicodedata.category(character).startswith("M")
        if sign:
            stem = ""
        elif _settled(stem + character) and (0 < len(stem) <= MOST_MARKS or not mark):
            sign = character
            stem = stem + character if mark else character
        elif mark and _settled(character):
            # It would hang on what stands before, or be one with it and look like another token.
            sign = stem = CIRCLE + character
        else:
            sign, stem = _number(character), ""
        shown.append(sign)
    return "".join(shown)


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


def _sign(character: str) -> str:
    """What stands for a character that can't be seen, or that stands for another one here."""
    if character in SIGNS:
        return SIGNS[character]
    if character in TAKEN or character in BLANKS or unicodedata.category(character) in UNSEEN:
        return _number(character)
    return ""


def _settled(text: str) -> bool:
    """Whether of all texts that Unicode takes for the same, and that look so, it is the one."""
    composed = unicodedata.normalize("NFC", text)
    return EACH_APART.sub(lambda found: APART[found[0]], composed) == text


def _number(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


def _hex(raw: bytes) -> str:
    return f"⟨{raw.hex(' ').upper()}⟩"
