"""Fixtures shared by all tests: models the app fetches itself, the started app, a browser."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from explorer.backends import LocalModels, default_models_dir
from explorer.backends.base import Backend, ModelUnavailable
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
SMOLLM2 = DEFAULT_MODEL
GEMMA3 = "gemma-3-270m"
START_S = 300


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what is tested here never needs the Hub


@pytest.fixture(scope="session")
def models_dir() -> Path:
    return Path(os.environ.get("EXPLORER_MODELS_DIR") or default_models_dir())


@pytest.fixture(scope="session")
def models(models_dir: Path) -> LocalModels:
    return LocalModels(models_dir, SMOLLM2, public=False, budget_bytes=2**31)


def _get(models: LocalModels, name: str) -> Backend:
    try:
        return models.get(name)
    except ModelUnavailable as error:
        if error.code == "model_no_network":
            pytest.skip(f"{CATALOGUE[name].choice.title} can't be fetched here: {error}")
        raise


@pytest.fixture(scope="session")
def smollm2(models: LocalModels) -> Backend:
    return _get(models, SMOLLM2)


@pytest.fixture(scope="session")
def gemma3(models: LocalModels) -> Backend:
    return _get(models, GEMMA3)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_app(models_dir: Path, **environment: str) -> tuple["subprocess.Popen[bytes]", str]:
    """`python app.py` as a user would start it, on a free port; returns once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--models-dir", str(models_dir)],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1,localhost", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return process, url
        except (URLError, OSError):
            assert process.poll() is None, "the app ended instead of answering"
            time.sleep(0.2)
    process.kill()
    raise AssertionError(f"no answer from {url} in {START_S} s")


@pytest.fixture(scope="session")
def app_url(models_dir: Path, smollm2: Backend, gemma3: Backend) -> Iterator[str]:
    """The app with both models in its cache already."""
    process, url = start_app(models_dir)
    yield url
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool], float], None]:
    def wait(condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
            time.sleep(0.05)

    return wait
