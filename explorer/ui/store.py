"""Everybody's sessions, each behind a key that only its browser knows."""

import re
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

from explorer.decoding import Chain
from explorer.session import Session
from explorer.settings import Limits

KEY = re.compile(r"[0-9a-f-]{36}")  # a random UUID, made by the browser
TIME_TO_LIVE_S = 6 * 3600
SLOT_BYTES, NODE_BYTES, POINTER_BYTES = 1000, 600, 8  # about what each takes


@dataclass
class Slot:
    """One browser tab's session; the lock makes its actions follow one another."""

    client: str = ""
    session: Session | None = None
    weight: int = SLOT_BYTES
    done: str | None = None  # the request that made it what it is
    used_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class SessionStore:
    """Keeps the sessions used last, for as long as somebody may come back to them.

    A browser that reloads finds its session again. Values only: no tensor, no cache. Of too
    many, the client who takes most room gives up the session it used longest ago: who opens
    thousands drives out its own.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits | None = None,
        time_to_live_s: float = TIME_TO_LIVE_S,
    ) -> None:
        limits = limits or Limits()
        self._most, self._most_bytes = limits.sessions, limits.sessions_mib * 2**20
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._time_to_live_s = time_to_live_s

    def __len__(self) -> int:
        with self._lock:
            self._drop_stale(self._clock())
            return len(self._slots)

    def slot(self, key: str, client: str = "") -> Slot:
        """The slot of this key, a new one if there is none."""
        with self._lock:
            now = self._clock()
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = Slot(client)
                self._weight += slot.weight
            slot.used_at = now
            self._slots.move_to_end(key)
            self._drop_stale(now)
            self._make_room(slot)
            return slot

    def put(self, slot: Slot, session: Session | None) -> None:
        """The session that follows; a slot that was given up meanwhile takes no room."""
        if session is None or (slot.session is not None and slot.session.now is session.now):
            slot.session = session
            return
        weight = SLOT_BYTES + weight_of(session)
        with self._lock:
            slot.session = session
            if any(one is slot for one in reversed(self._slots.values())):
                self._weight += weight - slot.weight
                slot.weight = weight
                self._make_room(slot)

    def _make_room(self, staying: Slot) -> None:
        while len(self._slots) > self._most or self._weight > self._most_bytes:
            held: Counter[str] = Counter()
            for slot in self._slots.values():
                held[slot.client] += slot.weight
            greediest = max(held, key=held.__getitem__)
            going = (
                key
                for key, slot in self._slots.items()
                if slot.client == greediest and slot is not staying
            )
            key = next(going, None)
            if key is None:
                return  # its only one, whose size other limits bound
            self._drop(key)

    def _drop(self, key: str) -> None:
        self._weight -= self._slots.pop(key).weight

    def _drop_stale(self, now: float) -> None:
        while self._slots:
            key, oldest = next(iter(self._slots.items()))
            if now - oldest.used_at <= self._time_to_live_s:
                return
            self._drop(key)


def weight_of(session: Session) -> int:
    """About how many bytes a session takes; trees share their nodes, and nodes their rules."""
    trees = [moment.tree for moment in (session.now, *session.past, *session.future)]
    pointers = sum(len(tree.prompt) + len(tree.nodes) for tree in trees)
    nodes = max(trees, key=lambda tree: len(tree.nodes)).nodes
    choices = [node.choice for node in nodes if node.choice]
    chains = (chain for choice in choices for chain in (choice.chain, choice.after))
    return POINTER_BYTES * pointers + NODE_BYTES * len(nodes) + _weight_of_chains(chains)


def _weight_of_chains(chains: Iterable[Chain]) -> int:
    """Rules that hold long lists or texts; the others are small beside a node."""
    steps = {id(step): step for chain in chains for step in chain}
    values = (getattr(step, one.name) for step in steps.values() for one in fields(step))
    return sum(
        sys.getsizeof(value) + (sum(map(sys.getsizeof, value)) if isinstance(value, tuple) else 0)
        for value in values
        if isinstance(value, tuple | str)
    )
