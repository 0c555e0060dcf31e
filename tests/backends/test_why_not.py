"""Why a model is not there: what the user is told of whatever was raised."""

import threading
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from huggingface_hub import errors

from explorer.backends import LocalModels, loading, local
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL
from explorer.backends.why_not import why_not
from tests.backends.loads import NOT_LOADED_HERE, Memory, why


def test_too_little_memory(
    fresh: LocalModels, saved_llama: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (saved_llama / "model.safetensors").stat().st_size
    free = int(size * loading.MEMORY_FACTOR) - 1
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(free))
    error = why(fresh, str(saved_llama))
    assert error.code == "model_no_memory"
    assert error.facts == {"model": str(saved_llama), "needed": size, "free": free}
    assert opened == []
    free += 2
    assert fresh.get(str(saved_llama))


def test_too_little_memory_for_a_model_of_the_catalogue(
    fresh: LocalModels, saved_llama: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "ensure_weights", lambda *_: saved_llama)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(10**8))
    error = why(fresh, DEFAULT_MODEL)
    assert error.code == "model_no_memory"
    assert error.facts["needed"] == CATALOGUE[DEFAULT_MODEL].memory_bytes
    assert opened == []


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [NOT_LOADED_HERE, "llama-3.2-1b"])
def test_a_hub_model_without_a_network(
    fresh: LocalModels, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(10**12))
    error = why(fresh, name)
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
    kind: type[Exception], fresh: LocalModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_connection(*_: Any, **__: Any) -> None:
        raise kind("peer closed connection")

    monkeypatch.setattr(local, "open_local", lose_connection)
    assert why(fresh, NOT_LOADED_HERE).code == "model_no_network"


def test_a_defect_in_loading_ends_the_wait_and_is_not_hidden(
    fresh: LocalModels,
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
    assert why(fresh, name).code == "model_not_loadable"
    assert fresh.status(name).phase == "failed"
    for thread in threading.enumerate():
        if thread.name == f"load {name}":
            thread.join()
    seen += [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert seen == [ZeroDivisionError]
