"""Answers that nobody fetches are forgotten, but nobody who waits is.

A script asks an endpoint with one request and fetches the answer with another. Gradio keeps an
answer of up to some megabytes until then, and the name of the session for good. What it forgets
is the session that came first of the last two thousand, even if its call still waits in the
line, and that stops the line for everybody.
"""

from typing import Any

MAX_UNREAD = 200  # answers of everybody's together


def forget_unread(queue: Any, most: int) -> None:
    """Keep the latest `most` answers that wait to be fetched; all that is still in work stays."""
    pending, messages = queue.pending_event_ids_session, queue.pending_messages_per_session
    unread = [
        (session, event_id)
        for session, event_ids in pending.items()
        for event_id in event_ids
        if event_id not in queue.event_ids_to_events
    ]
    for session, event_id in unread[: max(0, len(unread) - most)]:
        pending[session].discard(event_id)
        if session in messages:
            _take_out(messages[session], event_id)
    done = [session for session in {**pending, **messages} if not pending.get(session)]
    for session in done[: max(0, len(done) - most)]:
        pending.pop(session, None)
        messages.pop(session, None)


def _take_out(waiting: Any, event_id: str) -> None:
    for _ in range(waiting.qsize()):
        message = waiting.get_nowait()
        if message.event_id != event_id:
            waiting.put_nowait(message)


def keep_few_unread(queue: Any, most: int = MAX_UNREAD) -> None:
    """Forget, whenever somebody joins the line, what nobody came for."""
    join = queue.push

    async def push(*arguments: Any, **more: Any) -> Any:
        forget_unread(queue, most)
        return await join(*arguments, **more)

    queue.pending_messages_per_session = {}  # without Gradio's own bound
    queue.push = push
