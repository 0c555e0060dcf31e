"""All models of the app: loaded on demand, in the background, one copy for everybody."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.backends.base import (
    Backend,
    BackendError,
    LoadPhase,
    LoadStatus,
    ModelChoice,
    ModelUnavailable,
    Usage,
)
from explorer.backends.calm import calmly
from explorer.backends.catalogue import CATALOGUE, CatalogueEntry
from explorer.backends.counts import COMPUTED
from explorer.backends.first_tables import FirstTables
from explorer.backends.folders import check_folder, path_of
from explorer.backends.machine import free_memory, give_back, total_memory
from explorer.backends.residents import Resident
from explorer.backends.weights import ensure_converted, ensure_weights
from explorer.backends.why_not import why_not

if TYPE_CHECKING:
    from explorer.backends.local import LocalBackend
    from explorer.backends.prefix_memory import PrefixMemory

log = logging.getLogger(__name__)

MEMORY_FACTOR = 1.1  # weights plus what loading needs for a moment
SHARE = 0.75  # of all memory that models may take unless the user says otherwise
SPARE_SHARE = 0.25  # of the free memory that a model may take to be faster
POLL_S = 0.02
GAP_S = 1  # how long a load waits for a moment in which some model is not in use
PAGE_S = 60  # how long the first load waits for the page, which need not come
PATIENCE_S = 60  # how long it waits for those who work with a model that is to leave

# One model at a time: loading peaks in memory, and transformers sets global state while it loads.
_LOADING = threading.Lock()


def default_models_dir() -> Path:
    """Where fetched models are kept unless the user says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "next-token-explorer"


@dataclass
class _Entry:
    status: LoadStatus
    resident: Resident | None = None
    needed: int | None = None  # bytes of memory, once they are known
    waiting: int = 0  # who wait in `get` for it to be loaded
    finished: threading.Event = field(default_factory=threading.Event)


class LocalModels:
    """Models of the catalogue and, unless `public`, any Hub id, folder or `.gguf` file.

    `budget_bytes` bounds what is remembered of prefixes, `model_bytes` the weights in memory
    (three quarters of all memory if `None`). A model that needs room makes those leave that
    were used longest ago, idle ones first. When all are in use, the one used longest ago gets
    no new users, and the load waits until its users are done, for a minute at most: past
    that, a single long request can hold the weights of one model beyond the budget.

    Python imports one thing at a time: torch beside Gradio makes both late. So with
    `after_page` nothing is loaded before the page answers; it is fetched meanwhile.
    """

    def __init__(
        self,
        models_dir: Path,
        default: str,
        *,
        public: bool,
        budget_bytes: int,
        model_bytes: int | None = None,
        after_page: bool = False,
    ) -> None:
        self.default = default
        self.public = public
        self._models_dir = Path(models_dir)  # also of who gives it as text
        self._budget_bytes = budget_bytes
        self._model_bytes = model_bytes or int(SHARE * total_memory())
        self._entries: dict[str, _Entry] = {}  # used longest ago first
        self._leaving: list[Resident] = []  # no new users, but perhaps still in memory
        self._lock = threading.Lock()
        self._first_tables = FirstTables(self._models_dir)
        self._page = threading.Event()
        if not after_page:
            self._page.set()
        self._memory: PrefixMemory | None = None
        self._check_name(default)

    def choices(self) -> tuple[ModelChoice, ...]:
        return tuple(entry.choice for entry in CATALOGUE.values())

    def status(self, name: str) -> LoadStatus:
        with self._lock:
            entry = self._entries.get(name)
            return entry.status if entry else LoadStatus("idle")

    def usage(self) -> Usage:
        with self._lock:
            here = {name: one.resident for name, one in self._entries.items() if one.resident}
            return Usage(
                tuple(here),
                sum(resident.size + resident.spare for resident in here.values()),
                self._memory.used_bytes if self._memory else 0,
                sum(resident.waiting for resident in here.values()),
                COMPUTED.passes,
                COMPUTED.tokens,
            )

    def request(self, name: str) -> LoadStatus:
        self._check_name(name)
        with self._lock:
            return self._entry(name).status

    def early(self, name: str) -> Backend | None:
        weights = self._kept_weights(name)
        if weights is None or self.status(name).phase in ("ready", "failed"):
            return None
        return self._first_tables.get(name, weights)

    def keep_first_table(self, name: str, text: str, chat: bool) -> None:
        weights = self._kept_weights(name)
        with self._lock:
            entry = self._entries.get(name)
            backend = entry.resident.lend() if entry and entry.resident else None
        if weights is not None and backend is not None:
            threading.Thread(
                target=self._first_tables.keep,
                args=(name, weights, backend, text, chat),
                daemon=True,
            ).start()

    def page_answers(self) -> None:
        self._page.set()

    def _kept_weights(self, name: str) -> Path | None:
        """The folder in which this app keeps the weights of a model, if it does."""
        listed = CATALOGUE.get(name)
        if listed is None or listed.hub_id is not None:
            return None
        return self._models_dir / (listed.rounded or listed).name

    def get(self, name: str) -> Backend:
        self._check_name(name)
        while True:
            with self._lock:
                entry = self._entry(name)
                entry.waiting += 1
            entry.finished.wait()
            with self._lock:
                entry.waiting -= 1
                backend = entry.resident.lend() if entry.resident else None
            if backend is not None:
                return backend
            if entry.status.error is not None:
                # Frames of who was told before would keep alive what they worked with.
                raise entry.status.error.with_traceback(None)

    def _entry(self, name: str) -> _Entry:
        """The entry of a name, now the one used last; loads it unless that has begun."""
        entry = self._entries.pop(name, None)
        begin = entry is None or entry.status.phase == "failed"
        if entry is None or begin:
            entry = _Entry(LoadStatus("waiting"))
        self._entries[name] = entry
        if begin:
            threading.Thread(
                target=self._load, args=(name, entry), name=f"load {name}", daemon=True
            ).start()
        return entry

    def _check_name(self, name: str) -> None:
        if name in CATALOGUE:
            return
        if self.public:
            raise ModelUnavailable(
                "not_public",
                f"model must be one of {', '.join(CATALOGUE)}, got {name!r}",
                model=name,
                allowed=", ".join(CATALOGUE),
            )
        if not name.strip() or "\0" in name or len(name) > 500:
            raise ModelUnavailable("unknown", f"{name[:80]!r} is no model's name", model=name[:80])

    def _load(self, name: str, entry: _Entry) -> None:
        def report(phase: LoadPhase, done: int | None = None, total: int | None = None) -> None:
            entry.status = LoadStatus(phase, done, total)

        try:
            self._open(name, entry, report)
        except BackendError as error:
            entry.status = LoadStatus("failed", error=error.with_traceback(None))
        except Exception as error:
            # A stranger's folder or file can make the libraries that read it raise anything.
            # The user gets a named error; whoever runs the app finds the trace in the log.
            entry.status = LoadStatus("failed", error=why_not(name, error, entry.needed))
            log.warning("%s", entry.status.error, exc_info=error)
        finally:
            if entry.resident is None:
                give_back()  # what was loaded until then
            else:
                # No daemon: what it is in the midst of when the process ends must be done.
                threading.Thread(
                    target=_quicken, args=(entry.resident,), name=f"quicken {name}"
                ).start()
            entry.finished.set()

    def _open(self, name: str, entry: _Entry, report: Callable[..., None]) -> None:
        listed = CATALOGUE.get(name)
        source, needed = self._source(name, listed, report)
        entry.needed = needed
        report("waiting")
        with _LOADING:
            self._take_spare(needed or 0, needed or 0)
            free = free_memory()
            if needed is not None:
                self._check_budget(name, needed)
                self._check_memory(name, needed, free)
            self._make_room(needed or 0, int(free / MEMORY_FACTOR))
            report("loading")
            self.early(name)  # read now, the page soon asks for it
            self._page.wait(PAGE_S)
            resident = Resident(name, self._load_weights(name, listed, source))
            # Only now is it known: a folder may hold weights in a narrower type.
            self._check_budget(name, resident.size)
            self._take_spare(resident.size, 0)
            self._make_room(resident.size, resident.size)
            with self._lock:
                room = self._model_bytes - self._staying() - self._spare() - resident.size
                resident.use_spare(min(room, int(SPARE_SHARE * free_memory())))
                entry.resident, entry.status = resident, LoadStatus("ready")
            self._first_tables.forget(name)

    def _load_weights(
        self, name: str, entry: CatalogueEntry | None, source: str | Path
    ) -> "LocalBackend":
        # Imported here: torch and transformers take seconds that the page need not wait for.
        from explorer.backends.local import open_local
        from explorer.backends.prefix_memory import PrefixMemory

        if self._memory is None:
            self._memory = PrefixMemory(self._budget_bytes)
        licence = entry.choice.licence if entry else None
        with self._lock:
            others = bool(self._staying())
        with calmly(give_way=others):
            return open_local(
                source,
                model_id=name,
                licence=licence,
                memory=self._memory,
                int8=entry is not None and entry.rounded is not None,
                tokenizer_apart=others,
            )

    # room

    def _take_spare(self, needed: int, more: int) -> None:
        """No model has to leave for what others take only to be faster: they give it up first.

        `needed` bytes are to fit into the budget, `more` of them into what is free.
        """
        with self._lock:
            fits = self._staying() + self._spare() + needed <= self._model_bytes
            if fits and more * MEMORY_FACTOR <= free_memory():
                return
            for entry in self._entries.values():
                if entry.resident is not None:
                    entry.resident.give_up_spare()
        give_back()

    def _check_budget(self, name: str, needed: int) -> None:
        if needed > self._model_bytes:
            raise ModelUnavailable(
                "over_budget",
                f"{name} needs {needed / 2**20:,.0f} MiB of memory; "
                f"{self._model_bytes / 2**20:,.0f} MiB are allowed for models",
                model=name,
                needed=needed,
                allowed=self._model_bytes,
            )

    def _check_memory(self, name: str, needed: int, free: int) -> None:
        """No model has to leave for one that would not fit even then."""
        with self._lock:
            free += self._staying() + sum(resident.size for resident in self._leaving)
        if needed * MEMORY_FACTOR > free:
            raise ModelUnavailable(
                "no_memory",
                f"{name} needs {needed / 2**20:,.0f} MiB of memory; "
                f"{free / 2**20:,.0f} MiB are free",
                model=name,
                needed=needed,
                free=free,
            )

    def _make_room(self, needed: int, free: int) -> None:
        """Let models leave until `needed` bytes more fit into the budget and into what is free."""
        began = time.monotonic()
        with self._lock:
            taken = self._staying() + sum(resident.size for resident in self._leaving)
            room = min(self._model_bytes, taken + free)
            fits = taken + needed <= room
        if fits:
            return
        while not fits and time.monotonic() < began + PATIENCE_S:
            with self._lock:
                if self._staying() + needed > room:
                    self._let_one_leave(even_in_use=time.monotonic() > began + GAP_S)
            still_here = self._still_here()
            with self._lock:
                fits = self._staying() + still_here + needed <= room
            if not fits:
                # Nothing tells when the last one drops a model. Only the loading thread waits.
                time.sleep(POLL_S)
        give_back()

    def _still_here(self) -> int:
        """Bytes of the models that were told to leave and are still in use."""
        gone = [resident for resident in self._leaving if resident.gone]
        with self._lock:
            self._leaving = [resident for resident in self._leaving if resident not in gone]
            for resident in gone:
                if resident.name not in self._entries:
                    self._forget(resident.name)  # what its last users left behind
            return sum(resident.size for resident in self._leaving)

    def _forget(self, name: str) -> None:
        if self._memory is not None:
            self._memory.forget_model(name)

    def _staying(self) -> int:
        """Bytes of all models that have not been told to leave."""
        return sum(entry.resident.size for entry in self._entries.values() if entry.resident)

    def _spare(self) -> int:
        """Bytes that models take only to be faster."""
        return sum(entry.resident.spare for entry in self._entries.values() if entry.resident)

    def _let_one_leave(self, *, even_in_use: bool) -> None:
        """The one used longest ago of those that nobody works with or waits for."""
        for in_use in (False, True) if even_in_use and not self._leaving else (False,):
            for name, entry in self._entries.items():
                resident = entry.resident
                if resident is None or entry.waiting or resident.expected:
                    continue
                if resident.in_use == in_use:
                    del self._entries[name]
                    resident.leave()
                    self._leaving.append(resident)
                    self._forget(name)
                    return

    def _source(
        self, name: str, entry: CatalogueEntry | None, report: Callable[..., None]
    ) -> tuple[str | Path, int | None]:
        """Where the weights are, in transformers' terms, and how much memory they need."""
        if entry is not None and entry.hub_id is not None:
            return entry.hub_id, entry.memory_bytes
        if entry is not None:
            files = entry.rounded or entry
            return ensure_weights(files, self._models_dir, report), entry.memory_bytes
        path = path_of(name)
        if path is not None and path.is_dir():
            check_folder(path)
            return path, _weight_bytes(path)
        if path is not None:
            folder = ensure_converted(path, self._models_dir, report)
            return folder, _weight_bytes(folder)
        if name.endswith(".gguf") or name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise ModelUnavailable("unknown", f"there is no file or folder {name!r}", model=name)
        return name, None


def _quicken(resident: Resident) -> None:
    try:
        with _LOADING, calmly(give_way=True):
            resident.quicken()
    except Exception as error:
        # Whatever a stranger's model raises here, it goes on as it is.
        if threading.main_thread().is_alive():  # else the process ends
            log.warning("steps of %s stay as they are", resident.name, exc_info=error)


def _weight_bytes(folder: Path) -> int:
    """The size of the weights as they lie on disk: the least that they need in memory."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
