"""Calls of the endpoints that wait, run, or have an answer that nobody has fetched yet."""

import asyncio
from typing import Any

from gradio.context import LocalContext

from explorer.ui.clients import UNKNOWN, client_of
from explorer.ui.messages import Refused

KEPT_S = 60  # for how long an answer waits to be fetched


class Results:
    """How many calls of each client Gradio holds; it would keep unfetched answers for ever."""

    def __init__(self, of_one_client: int, proxies: int) -> None:
        self._limit, self._proxies = of_one_client, proxies
        self._answered: dict[str, tuple[str, str]] = {}  # event -> its client and session

    def check(self, queue: Any, client: str) -> None:
        """Refuse a client who holds as many calls as one may."""
        events = list(queue.event_ids_to_events.items())
        held = {
            event_id
            for event_id, event in events
            if client_of(event.request.scope, self._proxies) == client
        }
        pending = queue.pending_event_ids_session
        held |= {
            event_id
            for event_id, (who, session) in self._answered.items()
            if who == client and event_id in pending.get(session, ())
        }
        if len(held) >= self._limit:
            raise Refused("too_many_yours", held=len(held), limit=self._limit)

    def client_here(self) -> str:
        """Who made the call that this task answers."""
        event = _event_here()
        return UNKNOWN if event is None else client_of(event.request.scope, self._proxies)

    def answered(self) -> None:
        """The call that this task answers is done: its answer waits, but not for ever."""
        event = _event_here()
        if event is None:
            return
        queue = LocalContext.blocks.get()._queue
        self._answered[event._id] = (self.client_here(), event.session_hash)
        asyncio.get_running_loop().call_later(KEPT_S, self._drop, queue, event._id)

    def _drop(self, queue: Any, event_id: str) -> None:
        _, session = self._answered.pop(event_id)
        pending = queue.pending_event_ids_session.get(session)
        if pending is None:
            return
        unfetched = event_id in pending
        pending.discard(event_id)
        if not pending:
            queue.pending_event_ids_session.pop(session)
            if unfetched and session in queue.pending_messages_per_session:
                del queue.pending_messages_per_session[session]


def _event_here() -> Any:
    blocks, event_id = LocalContext.blocks.get(), LocalContext.event_id.get()
    return None if blocks is None else blocks._queue.event_ids_to_events.get(event_id)
