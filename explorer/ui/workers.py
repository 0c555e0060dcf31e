"""Threads in which requests are answered: so many at once, and for nobody who has left.

Gradio would run them in forty threads that its files are read in, too; the forty-first waits
without a word. Here there are more threads than may wait for a model, and no line for them.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from starlette.requests import Request

from explorer.backends.base import Asker, TooBusy, asked_by
from explorer.ui.clients import UNKNOWN
from explorer.ui.messages import Refused

MAX_OPEN = 256  # more than may wait for a model, so that most are told by the model's own line

Answer = TypeVar("Answer")


class Workers:
    """Runs each request in a thread of its own; `TooBusy` where there is none left.

    A client holds no more threads than `of_one_client`, for as long as they run.
    """

    def __init__(self, limit: int = MAX_OPEN, of_one_client: int = MAX_OPEN) -> None:
        self._limit, self._of_one_client = limit, of_one_client
        self._open: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(limit, "request")

    def __len__(self) -> int:
        """Requests in work."""
        return self._open.total()

    async def run(
        self,
        work: Callable[[], Answer],
        has_left: Callable[[], bool] | None = None,
        client: str = UNKNOWN,
    ) -> Answer:
        """The answer of `work`, which ends early once `has_left` or once this is cancelled."""
        with self._counting:
            mine, waiting = self._open[client], self._open.total()
            if mine >= self._of_one_client:
                raise Refused("too_many_yours", held=mine, limit=self._of_one_client)
            if waiting >= self._limit:
                raise TooBusy(waiting=waiting, limit=self._limit)
            self._open[client] += 1
        cancelled = threading.Event()
        asker = Asker(lambda: cancelled.is_set() or (has_left is not None and has_left()))

        def answer() -> Answer:
            with asked_by(asker):
                return work()

        future = self._threads.submit(copy_context().run, answer)
        future.add_done_callback(lambda _: self._close(client))
        try:
            return await asyncio.wrap_future(future)
        finally:
            cancelled.set()

    def _close(self, client: str) -> None:
        with self._counting:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    async def run_for(
        self, request: Request, work: Callable[[], Answer], client: str = UNKNOWN
    ) -> Answer:
        """The same for an HTTP request, for as long as its connection is open."""
        closed = threading.Event()
        watching = asyncio.create_task(_watch(request, closed))
        try:
            return await self.run(work, closed.is_set, client)
        finally:
            watching.cancel()


async def _watch(request: Any, closed: threading.Event) -> None:
    """The body has been read, so all that still comes is that the connection was closed."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
    closed.set()
