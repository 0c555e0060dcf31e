"""Weights on disk: fetched, checked, converted, and never half there.

Rule: a folder under its final name is complete. Everything is made in a folder that starts
with `.partial-` and then renamed, and what a killed process left behind is removed by the
next one, under a lock that the operating system drops when its holder dies.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from explorer.backends import child
from explorer.backends.base import ModelUnavailable
from explorer.backends.catalogue import CatalogueEntry
from explorer.backends.fetching import POLL_S, Report, fetch_gguf, last_error
from explorer.backends.machine import free_memory
from explorer.backends.manifest import is_whole, seal

SPARE_BYTES = 64 * 2**20  # room that a download or conversion must leave free


def ensure_weights(entry: CatalogueEntry, models_dir: Path, report: Report) -> Path:
    """The folder of a catalogue model in transformers' format, fetched and converted if needed.

    Raises `ModelUnavailable` when there is no network, no space, or a file with a wrong hash.
    """
    size = entry.memory_bytes + entry.gguf_bytes + (entry.choice.download_bytes or 0)
    with _prepared(entry.name, models_dir, size, report) as (folder, work):
        if work is None:
            return folder
        gguf = work / "model.gguf"
        fetch_gguf(entry, work, gguf, report)
        _convert(gguf, work / "converted", report)
        seal(work / "converted")
        (work / "converted").rename(folder)
    return folder


def ensure_converted(gguf: Path, models_dir: Path, report: Report) -> Path:
    """The folder of a user's own GGUF file in transformers' format, converted if needed."""
    stat = gguf.stat()
    identity = f"{gguf.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    name = f"gguf-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    size = stat.st_size * 8  # 4-bit weights become float32
    with _prepared(name, models_dir, size, report) as (folder, work):
        if work is None:
            return folder
        _convert(gguf, work / "converted", report)
        seal(work / "converted")
        (work / "converted").rename(folder)
    return folder


@contextmanager
def _prepared(
    name: str, models_dir: Path, needed: int, report: Report
) -> Iterator[tuple[Path, Path | None]]:
    """The final folder, and a folder to work in, or `None` where the final one is whole."""
    folder = models_dir / name
    prefix = f".partial-{name}-"
    if is_whole(folder):
        yield folder, None
        return
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        report("waiting", None, None)
        with FileLock(models_dir / f".{name}.lock"):
            if is_whole(folder):  # another process made it while this one waited
                yield folder, None
                return
            if folder.exists() and not folder.is_dir():
                raise FileExistsError(
                    errno.EEXIST, "a file stands where the model goes", str(folder)
                )
            for leftover in (folder, *models_dir.glob(f"{prefix}*")):
                shutil.rmtree(leftover, ignore_errors=True)
            if shutil.disk_usage(models_dir).free < needed + SPARE_BYTES:
                raise _no_space(models_dir, needed)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=models_dir))
            try:
                yield folder, work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(models_dir, needed) from error
        raise ModelUnavailable(
            "not_writable",
            f"can't write to {models_dir}: {error}",
            detail=str(error),
            folder=str(models_dir),
        ) from error


def _convert(gguf: Path, target: Path, report: Report) -> None:
    report("converting", None, None)
    code, said = child.run(
        ["explorer.backends.convert", str(gguf.resolve()), str(target.resolve())],
        target.parent / "convert.log",
        lambda: None,
        POLL_S,
        {"HF_HUB_OFFLINE": "1"},
    )
    if code == 0:
        return
    if "No space left" in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    if code < 0:
        raise ModelUnavailable(
            "no_memory",
            f"the conversion of {gguf.name} was ended by signal {-code}",
            model=gguf.name,
            needed=None,
            free=free_memory(),
        )
    raise ModelUnavailable(
        "not_loadable",
        f"can't convert {gguf.name}: {last_error(said)}",
        model=gguf.name,
        detail=last_error(said),
    )


def _no_space(folder: Path, needed: int) -> ModelUnavailable:
    free = shutil.disk_usage(folder).free
    return ModelUnavailable(
        "no_space",
        f"not enough disk space in {folder}: "
        f"{free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB needed",
        folder=str(folder),
        free=free,
        needed=needed,
    )
