"""Models in memory, and who works with them: under a budget, the one used longest ago leaves.

Rule: whoever works with a model holds its backend. So a backend is lent as a copy that shares
all its parts; when nobody has that copy any more, nobody works with the model.
"""

import copy
import gc
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds that the page need not wait for
    from explorer.backends.local import LocalBackend

FRESH_S = 5  # a model that nobody has come for yet stays this long: who asked is on the way


class Resident:
    """A model in memory. All methods but `quicken` are called by one thread at a time."""

    def __init__(self, name: str, backend: "LocalBackend") -> None:
        self.name = name
        self.size = backend.weight_bytes
        self._backend: LocalBackend | None = backend
        self._weights = weakref.ref(backend.model)
        self._lent: weakref.ref[LocalBackend] | None = None
        self._collected = False
        self._loaded_at = time.monotonic()

    def lend(self) -> "LocalBackend | None":
        """The backend to work with, for as long as it is held; `None` if the model left."""
        lent = self._lent() if self._lent else None
        if lent is None and self._backend is not None:
            lent = copy.copy(self._backend)
            self._lent = weakref.ref(lent)
        return lent

    @property
    def spare(self) -> int:
        """Bytes that it takes only to be faster."""
        return self._backend.spare_bytes if self._backend is not None else 0

    def use_spare(self, room: int) -> None:
        """Let it take up to so many bytes more to be faster."""
        if self._backend is not None:
            self._backend.use_spare(room)

    def give_up_spare(self) -> None:
        if self._backend is not None:
            self._backend.give_up_spare()

    def quicken(self) -> None:
        """Make its steps quicker, beside those who work with it. Takes seconds."""
        backend = self._backend
        if backend is not None:
            backend.quicken()

    @property
    def in_use(self) -> bool:
        return self._lent is not None and self._lent() is not None

    @property
    def waiting(self) -> int:
        """Turns at the model that are open."""
        return self._backend.waiting if self._backend is not None else 0

    @property
    def expected(self) -> bool:
        """Whether somebody asked for it a moment ago who has not come yet."""
        return self._lent is None and time.monotonic() < self._loaded_at + FRESH_S

    def leave(self) -> None:
        """Nobody new gets it; it is freed when those who work with it are done."""
        self.give_up_spare()
        self._backend = None

    @property
    def gone(self) -> bool:
        """Whether a model that was told to leave has left."""
        if self.in_use:
            return False
        if self._weights() is not None and not self._collected:
            gc.collect()  # once: what still holds them is a cycle, or not ours
            self._collected = True
        return self._weights() is None
