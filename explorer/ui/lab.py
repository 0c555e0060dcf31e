"""What the page asks of the decoding lab: answers that leave the session as it is."""

from collections.abc import Callable, Mapping
from typing import Any

from explorer.backends.base import Backend
from explorer.decoding import Trace, roll, to_be_alone, to_survive
from explorer.decoding.parameters import ParameterError
from explorer.session import Session, read_characters, read_path, read_word
from explorer.ui import arguments
from explorer.ui.messages import Refused
from explorer.ui.payload import bytes_of, texts_of
from explorer.views.characters import characters_data
from explorer.views.lab import alternative, fallen, rolls_data
from explorer.views.strip import pending_bytes
from explorer.views.tree import branches
from explorer.views.words import words_data

Request = Mapping[str, Any]
MAX_ROLLS = 100_000
LENS_PASSES, MAX_PASSES = 4, 16  # forward passes that follow unfinished characters
MAX_PINS = 12
MAX_PIN = 100  # characters
MAX_TYPED = 1000  # characters of a word that becomes a ban, a bias or a breaker


def _change(session: Session, backend: Backend, data: Request) -> dict[str, Any]:
    """What must change at least for a token to survive, or to be the only one."""
    high = backend.info.vocab_size - 1
    token_id = arguments.count_argument("token_id", data.get("token_id"), 0, high)
    trace = session.trace(backend)
    if trace.distribution.rank_of(token_id) is None:
        raise Refused("token_not_known", token_id=token_id)
    survive = to_survive(trace, token_id, session.prefix)
    alone = to_be_alone(trace, token_id, session.prefix)
    return {
        "token_id": token_id,
        "text": texts_of(backend)(token_id),
        "survives": not survive.changes,
        "alone_now": len(trace.final) == 1 and not survive.changes,
        "survive": alternative(survive),
        "alone": [alternative(one) for one in alone],
    }


def _drawn_from(session: Session, backend: Backend, data: Request) -> Trace:
    which = data.get("which", "next")
    if which not in ("last", "next"):
        raise ParameterError("which", arguments.short(which), "'last' or 'next'")
    trace = session.last_draw(backend) if which == "last" else session.next_draw(backend)
    if trace is None:
        raise Refused("no_draw")
    return trace


def _roll(session: Session, backend: Backend, data: Request) -> dict[str, Any]:
    """Throw the dice of the last or the next draw many times; no model is asked."""
    count = arguments.count_argument("count", data.get("count", 1000), 1, MAX_ROLLS)
    seed = arguments.seed_argument(data.get("seed", session.seed))
    trace = _drawn_from(session, backend, data)
    return rolls_data(trace, roll(trace, count, seed), texts_of(backend))


def _fall(session: Session, backend: Backend, data: Request) -> dict[str, Any]:
    """The token that another u would give."""
    u = data.get("u")
    if isinstance(u, bool) or not isinstance(u, int | float) or not 0 <= u < 1:
        raise ParameterError("u", arguments.short(u), "a number from 0 to below 1")
    return fallen(_drawn_from(session, backend, data), u, texts_of(backend))


def _encode(session: Session, backend: Backend, data: Request) -> dict[str, Any]:
    """A word as token ids: what a ban, a bias or a breaker is made of."""
    text = arguments.text_argument("text", data.get("text"))
    if not 0 < len(text) <= MAX_TYPED:
        raise ParameterError("text", arguments.short(text), f"1 to {MAX_TYPED} characters")
    token_ids = backend.encode(text)
    if token_ids and token_ids[0] == backend.info.bos_token_id:
        token_ids = token_ids[1:]
    text_of = texts_of(backend)
    return {
        "text": text,
        "tokens": [{"token_id": one, "text": text_of(one)} for one in token_ids],
    }


def _branches(session: Session, backend: Backend, data: Request) -> dict[str, Any]:
    """The branches of the tree as texts, side by side."""
    return branches(session.now.tree, bytes_of(backend))


def _characters(session: Session, backend: Backend, data: Request) -> dict[str, Any]:
    """The next character rather than the next token."""
    passes = arguments.count_argument("passes", data.get("passes", LENS_PASSES), 0, MAX_PASSES)
    path = read_path(session, backend)
    start = len(session.now.tree.prompt)
    reading = read_characters(
        backend,
        session.prefix,
        session.chain_here,
        start,
        pending=pending_bytes(path),
        most_passes=passes,
    )
    return characters_data(reading, texts_of(backend))


def _words(session: Session, backend: Backend, data: Request) -> list[dict[str, Any]]:
    """How likely the text goes on with each of a few words."""
    words = data.get("words")
    if not isinstance(words, list) or len(words) > MAX_PINS:
        raise ParameterError("words", arguments.short(words), f"a list of at most {MAX_PINS} texts")
    for word in words:
        if not 0 < len(arguments.text_argument("words", word)) <= MAX_PIN:
            raise ParameterError("words", arguments.short(word), f"1 to {MAX_PIN} characters each")
    chain, start = session.chain_here, len(session.now.tree.prompt)
    text_of = texts_of(backend)
    return [
        words_data(read_word(backend, session.prefix, chain, start, word), text_of)
        for word in words
    ]


LAB: dict[str, Callable[[Session, Backend, Request], Any]] = {
    "change": _change,
    "roll": _roll,
    "fall": _fall,
    "encode": _encode,
    "branches": _branches,
    "characters": _characters,
    "words": _words,
}
