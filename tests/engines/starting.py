"""An engine's own virtual environment, and its server while it is needed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.conftest import free_port

START_S = 900


def environment(folder: Path, commands: Sequence[Sequence[str]]) -> Path:
    """The Python of a virtual environment, made by these pip commands unless it is there."""
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"making {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for command in commands:
            subprocess.run([python, "-m", "pip", *command], check=True)
        done.touch()
    return python


@contextmanager
def running(
    command: Sequence[str | Path], health: str, log: Path, **variables: str
) -> Iterator[str]:
    """A server on a free port of this machine; `{port}` in the command is where."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    filled = [str(part).replace("{port}", str(port)) for part in command]
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is stopped, too
    with log.open("wb") as output:
        server = subprocess.Popen(
            filled,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **variables},
            start_new_session=True,  # so that its workers end with it
        )
    try:
        _wait(server, url + health, log)
        print(f"the server answers after {time.monotonic() - start:.0f} s", flush=True)
        yield url
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the server ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"the server did not answer in {START_S} s; see {log}")
