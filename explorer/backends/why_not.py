"""Why a model can't be loaded, from whatever the libraries that read it raised."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from explorer.backends.base import ModelUnavailable, Reason
from explorer.backends.machine import free_memory

# What really happened, by the names of the errors among the causes; the first that fits. By name,
# for the Hub's client wraps errors of an HTTP library that is its own affair.
_CAUSES: tuple[tuple[Reason, frozenset[str]], ...] = (
    ("gated", frozenset({"GatedRepoError"})),
    (
        "no_network",
        frozenset({"LocalEntryNotFoundError", "OfflineModeIsEnabled", "TransportError"}),
    ),
    ("unknown", frozenset({"RepositoryNotFoundError", "HFValidationError"})),
)
_NO_MEMORY = frozenset({"MemoryError", "OutOfMemoryError"})
# torch's own allocator raises a plain RuntimeError, and safetensors an error of its own.
_SAYS_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "unable to mmap")


def why_not(name: str, error: BaseException, needed: int | None = None) -> ModelUnavailable:
    """The error that a user is told; `needed` is the memory of the weights where it is known."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    causes = tuple(_causes(error))
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    said = " ".join(str(cause) for cause in causes)
    if numbers & {errno.ENOSPC, errno.EDQUOT}:
        return _disk_full(name)
    if kinds & _NO_MEMORY or errno.ENOMEM in numbers or any(w in said for w in _SAYS_NO_MEMORY):
        return ModelUnavailable(
            "no_memory",
            f"the memory ran out while {name} was loaded: {first}",
            model=name,
            needed=needed,
            free=free_memory(),
        )
    reason = next((reason for reason, names in _CAUSES if names & kinds), None)
    return ModelUnavailable(
        reason or "not_loadable", f"can't load {name}: {first}", model=name, detail=first
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _disk_full(name: str) -> ModelUnavailable:
    """All that loading writes is what the Hub's client fetches."""
    from huggingface_hub.constants import HF_HUB_CACHE  # takes long, and is there already

    folder = next(
        path for path in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if path.is_dir()
    )
    free = shutil.disk_usage(folder).free
    return ModelUnavailable(
        "no_space",
        f"not enough disk space in {folder} for {name}: {free / 1e6:,.0f} MB free",
        folder=str(folder),
        free=free,
        needed=None,
    )
