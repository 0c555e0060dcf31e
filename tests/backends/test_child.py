"""A process that works for another ends when that one is killed."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from explorer.backends import child

SLEEPS = "print('up', flush=True)\nimport time\ntime.sleep(600)\n"
PARENT = """
import sys
from pathlib import Path
from explorer.backends import child
child.run(["sleeps"], Path(sys.argv[1]), lambda: None, 0.05, {"PYTHONPATH": sys.argv[2]})
"""


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def write(source: str) -> dict[str, str]:
        (tmp_path / "sleeps.py").write_text(source)
        return {"PYTHONPATH": str(tmp_path)}

    return write


def test_what_a_module_says_and_how_it_ends(
    tmp_path: Path, module: Callable[[str], dict[str, str]]
) -> None:
    environment = module("import sys; print(sys.argv[1:]); sys.exit(3)")
    ended = child.run(["sleeps", "a b"], tmp_path / "log", lambda: None, 0.05, environment)
    assert ended == (3, "['a b']")


def test_whoever_gives_up_waiting_ends_it(
    tmp_path: Path, module: Callable[[str], dict[str, str]]
) -> None:
    class GivenUp(Exception):
        pass

    def give_up() -> None:
        raise GivenUp

    before = psutil.Process().children()
    with pytest.raises(GivenUp):
        child.run(["sleeps"], tmp_path / "log", give_up, 0.05, module(SLEEPS))
    assert psutil.Process().children() == before


def test_it_ends_when_its_parent_is_killed(
    tmp_path: Path,
    module: Callable[[str], dict[str, str]],
    until: Callable[[Callable[[], bool], float], None],
) -> None:
    log = tmp_path / "log"
    module(SLEEPS)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log), str(tmp_path)], cwd=child.ROOT
    )
    try:
        until(lambda: log.exists() and log.read_text() == "up\n", 60)
        (working,) = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == -signal.SIGKILL
    working.wait(60)
