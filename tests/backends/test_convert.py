"""GGUF files become folders in a process of its own."""

from pathlib import Path

import numpy as np
import pytest

from explorer.backends.local import open_local
from explorer.backends.weights import ensure_converted
from tests.backends import tiny
from tests.backends.wheels import GGUF, Reports, as_python, left_in, no_subprocess, why


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
    as_python(tmp_path, monkeypatch, 'mkdir "$5" && cp "$4" "$5/model.safetensors"')
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
