"""All models of the app: loaded on demand, in the background, one copy for everybody."""

import errno
import os
import threading
from pathlib import Path

import psutil

from explorer.backends.base import (
    Backend,
    LoadStatus,
    ModelChoice,
    ModelUnavailable,
    Reason,
)
from explorer.backends.catalogue import CATALOGUE, CatalogueEntry
from explorer.backends.on_demand import OnDemand, Report
from explorer.backends.weights import ensure_converted, ensure_weights

MEMORY_FACTOR = 1.1  # weights plus what loading needs for a moment

# One model at a time: loading peaks in memory, and transformers sets global state while it loads.
_LOADING = threading.Lock()


def default_models_dir() -> Path:
    """Where fetched models are kept unless the user says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "next-token-explorer"


class LocalModels:
    """Models of the catalogue and, unless `public`, any Hub id, folder or `.gguf` file."""

    def __init__(self, models_dir: Path, default: str, *, public: bool, budget_bytes: int) -> None:
        self.default = default
        self.public = public
        self._models_dir = models_dir
        self._budget_bytes = budget_bytes
        self._opening = OnDemand(self._open, why_not)
        self._memory: object | None = None
        self._check_name(default)

    def choices(self) -> tuple[ModelChoice, ...]:
        return tuple(entry.choice for entry in CATALOGUE.values())

    def status(self, name: str) -> LoadStatus:
        return self._opening.status(name)

    def request(self, name: str) -> LoadStatus:
        self._check_name(name)
        return self._opening.request(name)

    def get(self, name: str) -> Backend:
        self._check_name(name)
        return self._opening.get(name)

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

    def _open(self, name: str, report: Report) -> Backend:
        entry = CATALOGUE.get(name)
        source, needed = self._source(name, entry, report)
        report("waiting")
        with _LOADING:
            _check_memory(name, needed)
            report("loading")
            return self._load_weights(name, entry, source)

    def _load_weights(self, name: str, entry: CatalogueEntry | None, source: str | Path) -> Backend:
        # Imported here: torch and transformers take seconds that the page need not wait for.
        from explorer.backends.local import open_local
        from explorer.backends.prefix_memory import PrefixMemory

        if self._memory is None:
            self._memory = PrefixMemory(self._budget_bytes)
        assert isinstance(self._memory, PrefixMemory)
        licence = entry.choice.licence if entry else None
        return open_local(source, model_id=name, licence=licence, memory=self._memory)

    def _source(
        self, name: str, entry: CatalogueEntry | None, report: Report
    ) -> tuple[str | Path, int | None]:
        """Where the weights are, in transformers' terms, and how much memory they need."""
        if entry is not None and entry.hub_id is not None:
            return entry.hub_id, entry.memory_bytes
        if entry is not None:
            return ensure_weights(entry, self._models_dir, report), entry.memory_bytes
        path = _path(name)
        if path is not None and path.is_dir():
            return path, _weight_bytes(path)
        if path is not None:
            folder = ensure_converted(path, self._models_dir, report)
            return folder, _weight_bytes(folder)
        if name.endswith(".gguf") or name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise ModelUnavailable("unknown", f"there is no file or folder {name!r}", model=name)
        return name, None


def _path(name: str) -> Path | None:
    """The folder or `.gguf` file of this name, if there is one."""
    try:
        path = Path(name).expanduser()
        found = path.is_dir() or (path.suffix == ".gguf" and path.is_file())
    except (OSError, RuntimeError):  # a name too long for a file, or no such user's home
        return None
    return path if found else None


def _weight_bytes(folder: Path) -> int:
    """The size of the weights as they lie on disk: the least that they need in memory."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _check_memory(name: str, needed: int | None) -> None:
    available = psutil.virtual_memory().available
    if needed is not None and needed * MEMORY_FACTOR > available:
        raise ModelUnavailable(
            "no_memory",
            f"{name} needs {needed / 2**20:,.0f} MiB of memory; "
            f"{available / 2**20:,.0f} MiB are free",
            model=name,
            needed=needed,
            free=available,
        )


# What really happened, by the names of the errors among the causes; the first that fits. By name,
# for the Hub's client wraps errors of an HTTP library that is its own affair.
_CAUSES: tuple[tuple[Reason, frozenset[str]], ...] = (
    ("no_memory", frozenset({"MemoryError", "OutOfMemoryError"})),
    ("gated", frozenset({"GatedRepoError"})),
    (
        "no_network",
        frozenset({"LocalEntryNotFoundError", "OfflineModeIsEnabled", "TransportError"}),
    ),
    ("unknown", frozenset({"RepositoryNotFoundError", "HFValidationError"})),
)


def why_not(name: str, error: BaseException) -> ModelUnavailable:
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    causes = set()
    cause: BaseException | None = error
    while cause is not None:
        causes |= {kind.__name__ for kind in type(cause).__mro__}
        cause = cause.__cause__ or cause.__context__
    reason = next((reason for reason, names in _CAUSES if names & causes), None)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelUnavailable(
            "no_space", f"not enough disk space for {name}: {first}", folder=name, free=0
        )
    if reason is None and "can't allocate memory" in str(error):
        reason = "no_memory"  # torch's own allocator raises a plain RuntimeError
    return ModelUnavailable(
        reason or "not_loadable", f"can't load {name}: {first}", model=name, detail=first
    )
