"""Everybody's sessions, each behind a key that only its browser knows."""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from explorer.session import Session

KEY = re.compile(r"[0-9a-f-]{36}")  # a random UUID, made by the browser
MAX_SESSIONS = 2000
TIME_TO_LIVE_S = 6 * 3600


@dataclass
class Slot:
    """One browser tab's session; the lock makes its actions follow one another."""

    session: Session | None = None
    done: str | None = None  # the request that made it what it is
    used_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class SessionStore:
    """Keeps the sessions used last, for as long as somebody may come back to them.

    A browser that reloads finds its session again. Values only: no tensor, no cache.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._clock = clock

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, key: str) -> Slot:
        """The slot of this key, a new one if there is none."""
        with self._lock:
            now = self._clock()
            slot = self._slots.setdefault(key, Slot())
            slot.used_at = now
            self._slots.move_to_end(key)
            while len(self._slots) > MAX_SESSIONS or self._oldest_is_stale(now):
                self._slots.popitem(last=False)
            return slot

    def _oldest_is_stale(self, now: float) -> bool:
        oldest = next(iter(self._slots.values()))
        return now - oldest.used_at > TIME_TO_LIVE_S
