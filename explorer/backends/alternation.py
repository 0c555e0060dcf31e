"""Passes that many wait for, and the work on their answers, by turns instead of at once.

Python runs one thread at a time, and a forward pass needs it before each of its thousands of
small operations. While thirty answers are made in other threads, a pass takes two to three times as
long, and it delays them as much. So a pass of steps begins when the answers to the last one are
made, and what a pass gave is made into an answer when no other one is under way.

Answers are made one after another, too. NumPy lets go of the interpreter in each operation; of
thirty threads that all want it, each then waits for it a hundred times an answer.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from explorer.backends.base import Asker, asker_here

PATIENCE_S = 0.25  # for answers that take longer than others
AT_ONCE = 1  # answers in the making
LONGEST_PASS_S = 1.0  # nobody is held up for longer, whatever the pass does


class Alternation:
    """Who makes an answer at the moment, and whether a pass wants quiet. Safe among threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # With what a pass gave them, and whether they got one of the places.
        self._answering: dict[Asker, bool] = {}
        self._places = threading.Semaphore(AT_ONCE)
        self._passes = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for a pass."""
        asker = asker_here()
        if asker is None:
            yield
            return
        self._drop(asker)
        try:
            yield
        finally:
            with self._changed:
                self._changed.wait_for(lambda: not self._passes, LONGEST_PASS_S)
                self._answering[asker] = False
            self._answering[asker] = self._places.acquire(timeout=PATIENCE_S)
            asker.when_done = partial(self._drop, asker)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Around a pass; in the thread of one who waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._answering, PATIENCE_S)
            self._passes += 1
        try:
            yield
        finally:
            with self._changed:
                self._passes -= 1
                self._changed.notify_all()

    def _drop(self, asker: Asker) -> None:
        with self._changed:
            if self._answering.pop(asker, False):
                self._places.release()
            self._changed.notify_all()


alternation = Alternation()  # one for all models, as there is one interpreter
