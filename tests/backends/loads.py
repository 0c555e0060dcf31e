"""Models by name with an empty cache, and a small one in a folder; shared by tests."""

from collections import namedtuple
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from explorer.backends import LocalModels, local
from explorer.backends.base import ModelUnavailable
from explorer.backends.catalogue import DEFAULT_MODEL
from tests.backends import tiny

Memory = namedtuple("Memory", "available")
NOT_LOADED_HERE = "no-such-owner/no-such-model"


@pytest.fixture(scope="session")
def saved_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("saved") / "tiny-llama")


@pytest.fixture
def fresh(tmp_path: Path) -> LocalModels:
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


def why(fresh: LocalModels, name: str) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        fresh.get(name)
    return caught.value
