"""Models by name: which may be asked for, how they get into memory, and why not."""

import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import psutil
import pytest
import torch
from huggingface_hub import errors

from explorer.backends import LocalModels, loading, local
from explorer.backends.base import LoadStatus, ModelUnavailable
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL
from explorer.backends.loading import why_not
from tests.backends import tiny

Memory = namedtuple("Memory", "available")
NOT_LOADED_HERE = "no-such-owner/no-such-model"


@pytest.fixture(scope="session")
def saved_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("saved") / "tiny-llama")


@pytest.fixture
def models(tmp_path: Path) -> LocalModels:
    return LocalModels(tmp_path / "models", DEFAULT_MODEL, public=False, budget_bytes=2**24)


@pytest.fixture
def public_models(tmp_path: Path) -> LocalModels:
    return LocalModels(tmp_path / "models", DEFAULT_MODEL, public=True, budget_bytes=2**24)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was opened, in order."""
    sources: list[Any] = []
    open_local = local.open_local

    def counted(source: Any, **options: Any) -> local.LocalBackend:
        sources.append(source)
        return open_local(source, **options)

    monkeypatch.setattr(local, "open_local", counted)
    return sources


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def why(models: LocalModels, name: str) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        models.get(name)
    return caught.value


# names


@pytest.mark.parametrize(
    "name",
    [
        "openai-community/gpt2",
        "/etc",
        ".",
        "~",
        "model.gguf",
        "",
        " ",
        "a\0b",
        "SMOLLM2",
        "x" * 999,
    ],
)
def test_a_public_app_knows_the_catalogue_only(public_models: LocalModels, name: str) -> None:
    for ask in (public_models.request, public_models.get):
        with pytest.raises(ModelUnavailable) as caught:
            ask(name)
        assert caught.value.code == "model_not_public"
        assert caught.value.facts["model"] == name
        assert DEFAULT_MODEL in str(caught.value.facts["allowed"])
    assert public_models.status(name) == LoadStatus("idle")


def test_a_public_app_refuses_a_folder_that_exists(
    public_models: LocalModels, saved_llama: Path
) -> None:
    assert why(public_models, str(saved_llama)).code == "model_not_public"


@pytest.mark.parametrize("public", [True, False])
def test_the_default_must_be_a_name_that_can_be_used(tmp_path: Path, public: bool) -> None:
    with pytest.raises(ModelUnavailable):
        LocalModels(tmp_path, "" if not public else "some/hub-id", public=public, budget_bytes=1)


@pytest.mark.parametrize("name", ["", "   ", "\n", "a\0b", "x" * 501])
def test_what_is_no_name_is_unknown_at_once(models: LocalModels, name: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        models.request(name)
    assert caught.value.code == "model_unknown"
    assert models.status(name) == LoadStatus("idle")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name",
    ["/no/such/folder", "./here", "../there", "~/nowhere", "no-such-file.gguf", "a/b/c", "/x.gguf"],
)
def test_a_path_that_leads_nowhere_is_unknown(models: LocalModels, name: str) -> None:
    error = why(models, name)
    assert error.code == "model_unknown"
    assert error.facts["model"] == name


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name", ["two words", "bad//id", "x" * 300, "~no-such-user-here/x", "日本"]
)
def test_what_can_be_neither_a_path_nor_a_hub_id_is_unknown(models: LocalModels, name: str) -> None:
    assert why(models, name).code == "model_unknown"


def test_choices_are_the_catalogue(models: LocalModels) -> None:
    choices = models.choices()
    assert [choice.name for choice in choices] == list(CATALOGUE)
    assert DEFAULT_MODEL in CATALOGUE
    for choice in choices:
        entry = CATALOGUE[choice.name]
        assert choice.needs_hub == (entry.hub_id is not None) == (not entry.wheels)
        assert choice.licence and choice.licence_url.startswith("https://")
        if entry.wheels:
            assert choice.download_bytes == sum(wheel.wheel_bytes for wheel in entry.wheels)


# loading


def test_a_folder_is_loaded(models: LocalModels, saved_llama: Path) -> None:
    name = str(saved_llama)
    assert models.status(name) == LoadStatus("idle")
    backend = models.get(name)
    assert models.status(name) == LoadStatus("ready")
    assert models.request(name) == LoadStatus("ready")
    assert models.get(name) is backend
    assert backend.info.model_id == name
    assert backend.info.vocab_size == tiny.VOCAB_SIZE
    assert backend.info.context_length == tiny.CONTEXT
    assert backend.info.has_chat_template
    assert backend.encode("the dog") == tiny.backend("llama").encode("the dog")


def test_get_waits_for_a_load_that_a_request_began(
    models: LocalModels, saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, go_on, began = str(saved_llama), threading.Event(), threading.Event()
    open_local = local.open_local

    def slow(source: Any, **options: Any) -> local.LocalBackend:
        began.set()
        assert go_on.wait(10)
        return open_local(source, **options)

    monkeypatch.setattr(local, "open_local", slow)
    assert models.request(name).phase in ("waiting", "loading")
    assert began.wait(10)
    assert models.request(name) == models.status(name) == LoadStatus("loading")
    with ThreadPoolExecutor(1) as pool:
        getting = pool.submit(models.get, name)
        assert not getting.done()
        go_on.set()
        assert getting.result(10).info.model_id == name
    assert models.status(name) == LoadStatus("ready")


def test_a_model_is_loaded_once_for_a_whole_class(
    models: LocalModels, saved_llama: Path, opened: list[Any]
) -> None:
    barrier = threading.Barrier(8)

    def get(_: int) -> Any:
        barrier.wait()
        return models.get(str(saved_llama))

    with ThreadPoolExecutor(8) as pool:
        backends = list(pool.map(get, range(8)))
    assert len({id(backend) for backend in backends}) == 1
    assert opened == [saved_llama]


def test_all_models_share_one_memory(
    models: LocalModels, saved_llama: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(saved_llama, tmp_path / "copy")
    one, other = models.get(str(saved_llama)), models.get(str(copy))
    assert one is not other
    assert one._memory is other._memory


def test_a_failed_load_is_tried_again(
    models: LocalModels, saved_llama: Path, tmp_path: Path, opened: list[Any]
) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    error = why(models, str(folder))
    assert error.code == "model_not_loadable"
    assert error.facts["detail"]
    assert models.status(str(folder)) == LoadStatus("failed", error=error)
    shutil.copytree(saved_llama, folder, dirs_exist_ok=True)
    assert models.request(str(folder)).phase in ("waiting", "loading", "ready")
    assert models.get(str(folder)).info.vocab_size == tiny.VOCAB_SIZE
    assert models.status(str(folder)) == LoadStatus("ready")
    assert len(opened) == 2


def test_a_failure_of_one_model_does_not_stop_another(
    models: LocalModels, saved_llama: Path, tmp_path: Path
) -> None:
    assert why(models, str(tmp_path)).code == "model_not_loadable"
    assert models.get(str(saved_llama))


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
    models: LocalModels, saved_llama: Path, tmp_path: Path, file: str, content: bytes
) -> None:
    folder = shutil.copytree(saved_llama, tmp_path / "damaged")
    (folder / file).write_bytes(content)
    error = why(models, str(folder))
    assert error.code == "model_not_loadable"
    assert error.facts["detail"]


def test_a_gguf_file_is_converted_and_loaded(
    models: LocalModels, saved_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    monkeypatch.setattr(loading, "ensure_converted", lambda path, *_: saved_llama)
    assert models.get(str(gguf)).info.model_id == str(gguf)


def test_a_model_of_the_catalogue_is_fetched_and_loaded_with_its_licence(
    models: LocalModels, saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ensure(entry: Any, models_dir: Path, report: Any) -> Path:
        asked.append((entry.name, models_dir.name))
        report("downloading", 5, 10)
        assert models.status(DEFAULT_MODEL) == LoadStatus("downloading", 5, 10)
        report("converting", None, None)
        assert models.status(DEFAULT_MODEL) == LoadStatus("converting")
        return saved_llama

    monkeypatch.setattr(loading, "ensure_weights", ensure)
    info = models.get(DEFAULT_MODEL).info
    assert asked == [(DEFAULT_MODEL, "models")]
    assert (info.model_id, info.licence) == (DEFAULT_MODEL, "Apache-2.0")


def test_a_hub_model_of_the_catalogue_goes_by_its_hub_id(
    models: LocalModels, saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_local, sources = local.open_local, []

    def from_hub(source: Any, **options: Any) -> local.LocalBackend:
        sources.append(source)
        return open_local(saved_llama, **options)

    monkeypatch.setattr(local, "open_local", from_hub)
    assert models.get("gpt2").info.model_id == "gpt2"
    assert sources == ["openai-community/gpt2"]


# why not


def test_too_little_memory(
    models: LocalModels, saved_llama: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (saved_llama / "model.safetensors").stat().st_size
    free = int(size * loading.MEMORY_FACTOR) - 1
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(free))
    error = why(models, str(saved_llama))
    assert error.code == "model_no_memory"
    assert error.facts == {"model": str(saved_llama), "needed": size, "free": free}
    assert opened == []
    free += 2
    assert models.get(str(saved_llama))


def test_too_little_memory_for_a_model_of_the_catalogue(
    models: LocalModels, saved_llama: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "ensure_weights", lambda *_: saved_llama)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(10**8))
    error = why(models, DEFAULT_MODEL)
    assert error.code == "model_no_memory"
    assert error.facts["needed"] == CATALOGUE[DEFAULT_MODEL].memory_bytes
    assert opened == []


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [NOT_LOADED_HERE, "llama-3.2-1b"])
def test_a_hub_model_without_a_network(
    models: LocalModels, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(10**12))
    error = why(models, name)
    assert error.code == "model_no_network"
    assert error.facts["model"] == name
    assert error.facts["detail"]


def hub_error(kind: type[Exception]) -> Exception:
    request = httpx.Request("GET", "https://huggingface.co/api/models/a/b")
    if issubclass(kind, errors.HfHubHTTPError):
        return kind("what the Hub said", response=httpx.Response(401, request=request))
    return kind("what the Hub said")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.GatedRepoError, "model_gated"),
        (errors.RepositoryNotFoundError, "model_unknown"),
        (errors.HFValidationError, "model_unknown"),
        (errors.LocalEntryNotFoundError, "model_no_network"),
        (errors.OfflineModeIsEnabled, "model_no_network"),
        (httpx.ConnectError, "model_no_network"),
        (httpx.ReadTimeout, "model_no_network"),
    ],
)
@pytest.mark.parametrize("chained", ["raise from", "while handling", "directly"])
def test_errors_of_the_hub_go_by_their_kind(kind: type[Exception], code: str, chained: str) -> None:
    error = outer = hub_error(kind)
    if chained != "directly":
        outer = OSError("a/b is not a local folder, or\nsomething else")
        middle = ValueError("in between")
        outer.__cause__ = middle if chained == "raise from" else None
        outer.__context__ = middle
        middle.__context__ = error
    reason = why_not("a/b", outer)
    assert reason.code == code
    assert reason.facts["model"] == "a/b"
    assert "\n" not in str(reason)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "model_no_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "model_no_memory"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: "
                "can't allocate memory: you tried to allocate 4000000000000 bytes."
            ),
            "model_no_memory",
        ),
        (OSError(28, "No space left on device"), "model_no_space"),
        (OSError("nothing known"), "model_not_loadable"),
        (ValueError(""), "model_not_loadable"),
        (KeyError("architecture"), "model_not_loadable"),
    ],
)
def test_other_errors_go_by_their_kind(error: Exception, code: str) -> None:
    reason = why_not("a/b", error)
    assert reason.code == code
    assert str(reason).strip()


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_connection_lost_under_way(
    kind: type[Exception], models: LocalModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_connection(*_: Any, **__: Any) -> None:
        raise kind("peer closed connection")

    monkeypatch.setattr(local, "open_local", lose_connection)
    assert why(models, NOT_LOADED_HERE).code == "model_no_network"


def test_a_defect_in_loading_ends_the_wait_and_is_not_hidden(
    models: LocalModels,
    saved_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[type[BaseException] | None] = []

    def break_down(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(local, "open_local", break_down)
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_type))
    name = str(saved_llama)
    assert why(models, name).code == "model_not_loadable"
    assert models.status(name).phase == "failed"
    for thread in threading.enumerate():
        if thread.name == f"load {name}":
            thread.join()
    seen += [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert seen == [ZeroDivisionError]
