"""What the page asks of a look-ahead: to begin one, to go on, one forward pass at a time."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from explorer.backends.base import Backend
from explorer.decoding import Greedy
from explorer.decoding.parameters import ParameterError, not_one_of
from explorer.session import BeamSearch, Cover, DrawnPath, Search, Session
from explorer.session.beam import MAX_DEPTH
from explorer.ui import arguments
from explorer.ui.messages import Refused

Request = Mapping[str, Any]


def _beam(session: Session, data: Request) -> Search:
    return BeamSearch(
        session.prefix,
        arguments.plain("width", data.get("width")),
        arguments.plain("depth", data.get("depth")),
        arguments.plain("length_penalty", data.get("length_penalty", 1.0)),
    )


def _cover(session: Session, data: Request) -> Search:
    return Cover(
        session.prefix,
        arguments.plain("share", data.get("share")),
        arguments.plain("depth", data.get("depth")),
        arguments.plain("most_nodes", data.get("most_nodes")),
    )


def _greedy(session: Session, data: Request) -> Search:
    depth = arguments.count_argument("depth", data.get("depth"), 1, MAX_DEPTH)
    start = len(session.now.tree.prompt)
    return DrawnPath(session.prefix, (Greedy(),), session.seed, start, depth)


def _sample(session: Session, data: Request) -> Search:
    depth = arguments.count_argument("depth", data.get("depth"), 1, MAX_DEPTH)
    start = len(session.now.tree.prompt)
    return DrawnPath(session.prefix, session.chain_here, session.seed, start, depth)


KINDS: dict[str, Callable[[Session, Request], Search]] = {
    "beam": _beam,
    "cover": _cover,
    "greedy": _greedy,
    "sample": _sample,
}


def begin(session: Session, backend: Backend, data: Request) -> Session:
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise not_one_of("kind", arguments.short(kind), tuple(KINDS))
    return replace(session, ahead=KINDS[kind](session, data).advance(backend))


def go_on(session: Session, backend: Backend, data: Request) -> Session:
    if session.ahead is None:
        raise Refused("no_ahead")
    return replace(session, ahead=session.ahead.advance(backend))


AHEAD: dict[str, Callable[[Session, Backend, Request], Session]] = {
    "ahead": begin,
    "ahead_on": go_on,
}


def adopt(session: Session, backend: Backend, data: Request) -> Session:
    """Tokens appended: after the cursor, or after the text where the look-ahead began."""
    token_ids = arguments.ids_argument("token_ids", data.get("token_ids"))
    if not 0 < len(token_ids) <= MAX_DEPTH:
        allowed = f"1 to {MAX_DEPTH} token ids"
        raise ParameterError("token_ids", f"{len(token_ids)} token ids", allowed)
    for token_id in token_ids:
        arguments.count_argument("token_ids", token_id, 0, backend.info.vocab_size - 1)
    prefix = session.prefix
    if arguments.flag_argument("from_ahead", data.get("from_ahead", False)):
        if session.ahead is None:
            raise Refused("no_ahead")
        prefix = session.ahead.prefix
        if session.now.tree.find(prefix) is None:
            raise Refused("ahead_gone")
    return session.adopt(backend, prefix, token_ids)
