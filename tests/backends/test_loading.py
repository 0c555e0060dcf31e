"""Models by name: how they get into memory."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from explorer.backends import LocalModels, loading, local
from explorer.backends.base import LoadStatus
from explorer.backends.catalogue import DEFAULT_MODEL
from tests.backends import tiny
from tests.backends.loads import why


def test_a_folder_is_loaded(fresh: LocalModels, saved_llama: Path) -> None:
    name = str(saved_llama)
    assert fresh.status(name) == LoadStatus("idle")
    backend = fresh.get(name)
    assert fresh.status(name) == LoadStatus("ready")
    assert fresh.request(name) == LoadStatus("ready")
    assert fresh.get(name) is backend
    assert backend.info.model_id == name
    assert backend.info.vocab_size == tiny.VOCAB_SIZE
    assert backend.info.context_length == tiny.CONTEXT
    assert backend.info.has_chat_template
    assert backend.encode("the dog") == tiny.backend("llama").encode("the dog")


def test_get_waits_for_a_load_that_a_request_began(
    fresh: LocalModels, saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, go_on, began = str(saved_llama), threading.Event(), threading.Event()
    open_local = local.open_local

    def slow(source: Any, **options: Any) -> local.LocalBackend:
        began.set()
        assert go_on.wait(10)
        return open_local(source, **options)

    monkeypatch.setattr(local, "open_local", slow)
    assert fresh.request(name).phase in ("waiting", "loading")
    assert began.wait(10)
    assert fresh.request(name) == fresh.status(name) == LoadStatus("loading")
    with ThreadPoolExecutor(1) as pool:
        getting = pool.submit(fresh.get, name)
        assert not getting.done()
        go_on.set()
        assert getting.result(10).info.model_id == name
    assert fresh.status(name) == LoadStatus("ready")


def test_a_model_is_loaded_once_for_a_whole_class(
    fresh: LocalModels, saved_llama: Path, opened: list[Any]
) -> None:
    barrier = threading.Barrier(8)

    def get(_: int) -> Any:
        barrier.wait()
        return fresh.get(str(saved_llama))

    with ThreadPoolExecutor(8) as pool:
        backends = list(pool.map(get, range(8)))
    assert len({id(backend) for backend in backends}) == 1
    assert opened == [saved_llama]


def test_all_models_share_one_memory(fresh: LocalModels, saved_llama: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(saved_llama, tmp_path / "copy")
    one, other = fresh.get(str(saved_llama)), fresh.get(str(copy))
    assert one is not other
    assert one._memory is other._memory


def test_a_failed_load_is_tried_again(
    fresh: LocalModels, saved_llama: Path, tmp_path: Path, opened: list[Any]
) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    error = why(fresh, str(folder))
    assert error.code == "model_not_loadable"
    assert error.facts["detail"]
    assert fresh.status(str(folder)) == LoadStatus("failed", error=error)
    shutil.copytree(saved_llama, folder, dirs_exist_ok=True)
    assert fresh.request(str(folder)).phase in ("waiting", "loading", "ready")
    assert fresh.get(str(folder)).info.vocab_size == tiny.VOCAB_SIZE
    assert fresh.status(str(folder)) == LoadStatus("ready")
    assert len(opened) == 2


def test_a_failure_of_one_model_does_not_stop_another(
    fresh: LocalModels, saved_llama: Path, tmp_path: Path
) -> None:
    assert why(fresh, str(tmp_path)).code == "model_not_loadable"
    assert fresh.get(str(saved_llama))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "no-such-kind"}'),
        ("config.json", b"[]"),
        ("model.safetensors", b"garbage" * 100),
        ("model.safetensors", b""),
        ("tokenizer.json", b"garbage"),
        ("tokenizer.json", b'{"model": 7}'),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(
    fresh: LocalModels, saved_llama: Path, tmp_path: Path, file: str, content: bytes
) -> None:
    folder = shutil.copytree(saved_llama, tmp_path / "damaged")
    (folder / file).write_bytes(content)
    error = why(fresh, str(folder))
    assert error.code == "model_not_loadable"
    assert error.facts["detail"]


def test_a_gguf_file_is_converted_and_loaded(
    fresh: LocalModels, saved_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    monkeypatch.setattr(loading, "ensure_converted", lambda path, *_: saved_llama)
    assert fresh.get(str(gguf)).info.model_id == str(gguf)


def test_a_model_of_the_catalogue_is_fetched_and_loaded_with_its_licence(
    fresh: LocalModels, saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ensure(entry: Any, models_dir: Path, report: Any) -> Path:
        asked.append((entry.name, models_dir.name))
        report("downloading", 5, 10)
        assert fresh.status(DEFAULT_MODEL) == LoadStatus("downloading", 5, 10)
        report("converting", None, None)
        assert fresh.status(DEFAULT_MODEL) == LoadStatus("converting")
        return saved_llama

    monkeypatch.setattr(loading, "ensure_weights", ensure)
    info = fresh.get(DEFAULT_MODEL).info
    assert asked == [(DEFAULT_MODEL, "models")]
    assert (info.model_id, info.licence) == (DEFAULT_MODEL, "Apache-2.0")


def test_a_hub_model_of_the_catalogue_goes_by_its_hub_id(
    fresh: LocalModels, saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_local, sources = local.open_local, []

    def from_hub(source: Any, **options: Any) -> local.LocalBackend:
        sources.append(source)
        return open_local(saved_llama, **options)

    monkeypatch.setattr(local, "open_local", from_hub)
    assert fresh.get("gpt2").info.model_id == "gpt2"
    assert sources == ["openai-community/gpt2"]
