"""What tests of grammars share: vocabularies, texts in tokens, and the truth from `regex`."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import regex

from explorer.backends import Backend, ScriptedBackend
from explorer.backends.base import Token
from explorer.backends.grammar import GrammarMaker
from explorer.decoding import Grammar
from tests.backends import tiny

END = 3


def scripted() -> ScriptedBackend:
    """All bytes, some longer pieces twice, an empty one, and an end that reads like text."""
    pieces = [
        b"<s>",
        b"",
        b"pad",
        b"</s>",
        b"ab",
        b"ab",
        "日本".encode(),
        b"\xe6\x97",
        b'{"',
        b'":',
    ]
    return ScriptedBackend(
        [*pieces, *(bytes([byte]) for byte in range(256))],
        special=[0],
        bos_token_id=0,
        end_token_ids=(END,),
    )


VOCABULARIES: dict[str, Callable[[], Backend]] = {
    "scripted": scripted,
    "byte-level": lambda: tiny.backend("llama"),
    "SentencePiece": lambda: tiny.backend("gemma3"),
}


def written(backend: Backend, token_ids: Sequence[int]) -> bytes:
    return b"".join(backend.token(token_id).raw for token_id in token_ids)


def all_tokens(backend: Backend) -> list[Token]:
    return [backend.token(token_id) for token_id in range(backend.info.vocab_size)]


def fresh(backend: Backend) -> GrammarMaker:
    """A maker for the backend's vocabulary that has seen nothing yet."""
    return GrammarMaker(backend.info, lambda: all_tokens(backend))


def plain(backend: Backend) -> list[int]:
    """Tokens that can be part of a text."""
    ends = backend.info.end_token_ids
    return [
        token.token_id
        for token in all_tokens(backend)
        if token.raw and not token.special and token.token_id not in ends
    ]


def walk(
    backend: Backend, rules: Grammar, rng: np.random.Generator, most: int = 200
) -> tuple[int, ...]:
    """Random allowed tokens until an end token, or until nothing else is left to do."""
    text: tuple[int, ...] = ()
    while len(text) < most:
        token_ids = np.flatnonzero(rules.allowed(text))
        # White space is free in JSON; among few tokens it would be most of the text.
        ink = [i for i in token_ids if not backend.token(int(i)).raw.isspace()]
        choice = int(rng.choice(ink or token_ids))
        if choice in backend.info.end_token_ids:
            return text
        text = (*text, choice)
    raise AssertionError(f"no end after {written(backend, text)!r}")


def spelled(backend: Backend, text: str) -> tuple[int, ...]:
    """One token a byte."""
    by_byte = {backend.token(i).raw: i for i in plain(backend)}
    return tuple(by_byte[bytes([byte])] for byte in text.encode())


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
