"""The token strip: one chip for every token, or for the byte tokens that make one character."""

import math
from collections.abc import Sequence
from typing import Any

from explorer.session import PathToken
from explorer.views.table import finite
from explorer.views.text import is_whole, may_grow_whole, printable

LEAD = 0xC0  # the least byte that begins a character of several


def strip_chips(path: Sequence[PathToken], start: int = 0) -> list[dict[str, Any]]:
    """Chips for the path from position `start` on, for the screen to draw.

    Tokens that are parts of a character are joined when together they are whole; each chip
    holds its parts.
    """
    chips = []
    group: list[PathToken] = []
    for token in path[start:]:
        raw = b"".join(part.raw for part in group)
        if group and (token.special or not _joins(raw, token.raw)):
            chips += [_chip([part]) for part in group]  # never completed: shown one by one
            group = []
            raw = b""
        group.append(token)
        raw += token.raw
        if token.special or is_whole(raw) or not may_grow_whole(raw):
            joined = is_whole(raw) or token.special
            chips += [_chip(group)] if joined else [_chip([part]) for part in group]
            group = []
    return chips + [_chip([part]) for part in group]


def pending_bytes(path: Sequence[PathToken]) -> bytes:
    """The bytes at the end of the path that wait for the rest of their character."""
    raw = b""
    for token in reversed(path[-3:]):  # the fourth byte of a character completes it
        if token.special:
            break
        raw = token.raw + raw
    for start in range(max(0, len(raw) - 3), len(raw)):
        if raw[start] >= LEAD and may_grow_whole(raw[start:]):
            return raw[start:]
    return b""


def _joins(raw: bytes, following: bytes) -> bool:
    """Whether the bytes go on with, or complete, the character that `raw` began."""
    together = raw + following
    return is_whole(together) or may_grow_whole(together)


def _chip(parts: Sequence[PathToken]) -> dict[str, Any]:
    first, *others = shown = [_part(part) for part in parts]
    text, probability = first["text"], first["probability"]
    if others:
        text = printable(b"".join(part.raw for part in parts))
        logprobs = [part.logprob for part in parts]
        known = [logprob for logprob in logprobs if logprob is not None]
        # The probability of all parts in a row; unknown when one of them is.
        probability = math.exp(sum(known)) if len(known) == len(parts) else None
    special = parts[0].special
    return {
        "text": text,
        "special": special,
        "prompt": parts[-1].how == "prompt",
        "breaks": not special and parts[-1].raw.endswith(b"\n"),
        "probability": probability,
        "parts": shown,
    }


def _part(token: PathToken) -> dict[str, Any]:
    return {
        "position": token.position,
        "token_id": token.token_id,
        "bytes_hex": token.raw.hex(),
        "text": printable(token.raw, special=token.special),
        "probability": token.probability,
        "rank": token.rank,
        **({} if token.rank_beyond is None else {"rank_beyond": token.rank_beyond}),
        "surprisal": None if token.surprisal is None else finite(token.surprisal),
        "entropy": None if token.entropy is None else token.entropy / math.log(2),
        "how": token.how,
        "u": token.u,
    }
