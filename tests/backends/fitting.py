"""Whether bytes can begin a text that a pattern matches, by the `regex` package alone."""

from functools import cache

import regex


@cache
def can_begin(pattern: str, raw: bytes) -> bool:
    """Some text that fully matches begins with these bytes, which may end within a character."""
    text, tail = _split(raw)
    if text is None or not regex.fullmatch(pattern, text, partial=True):
        return False
    if not tail:
        return True
    named = (c for c in pattern if c.encode().startswith(tail))
    return any(
        regex.fullmatch(pattern, text + c, partial=True) for c in (*named, *_characters(tail))
    )


def _split(raw: bytes) -> tuple[str | None, bytes]:
    """The whole characters and the bytes of a last one that is cut off; no text: no UTF-8."""
    for cut in range(min(4, len(raw) + 1)):
        tail = raw[len(raw) - cut :]
        try:
            text = raw[: len(raw) - cut].decode()
        except UnicodeDecodeError:
            continue
        return (text, tail) if not tail or _characters(tail) else (None, b"")
    return None, b""


@cache
def _characters(tail: bytes) -> tuple[str, ...]:
    """Characters whose UTF-8 is longer than these bytes and begins with them.

    Of a block of more than 64, some 500 that lie evenly; a pattern that names a single one
    of the others has it in its own text.
    """
    first, missing = tail[0], _length(tail[0]) - len(tail)
    if missing <= 0:
        return ()
    bits = first & (0x7F >> _length(first))
    for byte in tail[1:]:
        if not 0x80 <= byte < 0xC0:
            return ()
        bits = bits << 6 | byte & 0x3F
    block = range(bits << 6 * missing, (bits + 1) << 6 * missing)
    points = block if len(block) <= 64 else block[:: len(block) // 500]
    return tuple(chr(p) for p in points if _is_character(p) and chr(p).encode().startswith(tail))


def _length(first: int) -> int:
    """Bytes of a character that begins with this one; 0 if none does."""
    return 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if first >= 0xF0 else 0


def _is_character(point: int) -> bool:
    return point < 0xD800 or 0xE000 <= point < 0x110000
