"""Models opened in the background when somebody asks, one copy for everybody."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from explorer.backends.base import Backend, BackendError, LoadPhase, LoadStatus

log = logging.getLogger(__name__)


class Report(Protocol):
    def __call__(
        self, phase: LoadPhase, done: int | None = None, total: int | None = None
    ) -> None: ...


@dataclass
class _Entry:
    status: LoadStatus
    backend: Backend | None = None
    finished: threading.Event = field(default_factory=threading.Event)


class OnDemand:
    """Opens a model once by name; one that failed is tried again when it is asked for again."""

    def __init__(
        self,
        opened: Callable[[str, Report], Backend],
        why_not: Callable[[str, BaseException], BackendError],
    ) -> None:
        self._opened = opened
        self._why_not = why_not
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def status(self, name: str) -> LoadStatus:
        with self._lock:
            entry = self._entries.get(name)
            return entry.status if entry else LoadStatus("idle")

    def request(self, name: str) -> LoadStatus:
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry.status.phase == "failed":
                entry = self._entries[name] = _Entry(LoadStatus("waiting"))
                threading.Thread(
                    target=self._load, args=(name, entry), name=f"load {name}", daemon=True
                ).start()
            return entry.status

    def get(self, name: str) -> Backend:
        self.request(name)
        entry = self._entries[name]
        entry.finished.wait()
        if entry.backend is None:
            assert entry.status.error is not None
            raise entry.status.error
        return entry.backend

    def _load(self, name: str, entry: _Entry) -> None:
        def report(phase: LoadPhase, done: int | None = None, total: int | None = None) -> None:
            entry.status = LoadStatus(phase, done, total)

        try:
            entry.backend = self._opened(name, report)
            entry.status = LoadStatus("ready")
        except BackendError as error:
            entry.status = LoadStatus("failed", error=error)
        except Exception as error:
            # A stranger's folder or file can make the libraries that read it raise anything.
            # The user gets a named error; whoever runs the app finds the trace in the log.
            entry.status = LoadStatus("failed", error=self._why_not(name, error))
            log.warning("%s", entry.status.error, exc_info=error)
        finally:
            entry.finished.set()
