"""Processes that work for this one, and end when it does, even if it is killed."""

import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN = "from explorer.backends.child import begin; begin()"


def run(
    arguments: list[str],
    log: Path,
    tick: Callable[[], None],
    poll_s: float,
    environment: Mapping[str, str],
) -> tuple[int, str]:
    """Run a module as `python -m` does, and `tick` meanwhile; its exit code, and what it said."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, *arguments],
            stdin=subprocess.PIPE,  # closed when this process dies, which ends that one
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        with process:
            try:
                _wait(process, tick, poll_s)
            finally:
                process.kill()
    return process.returncode, log.read_text(errors="replace").strip()


def _wait(process: "subprocess.Popen[bytes]", tick: Callable[[], None], poll_s: float) -> None:
    while True:
        try:
            process.wait(poll_s)
            return
        except subprocess.TimeoutExpired:
            tick()


def begin() -> None:
    """What the process itself does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the parent's end of the pipe is closed
    os._exit(1)
