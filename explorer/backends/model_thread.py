"""The one thread that all models compute on.

torch's CPU products run on a team of OpenMP threads, and each thread that starts one gets a team
of its own. As soon as there are more such threads than cores, GNU's OpenMP lets idle ones sleep
at once instead of waiting a moment for more work, and waking them hundreds of times a step makes
it take twice as long. One thread has one team.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_NAME = "models"
_thread = ThreadPoolExecutor(1, _NAME)
_open: list[None] = []  # one for each who waits for work to be done
_done = itertools.count()  # pieces of work
_last_done = -1

PATIENCE_S = 0.25  # of who lets a pass go first
POLL_S = 0.001


def on_model_thread(
    work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Do the work there and wait for it; its errors are raised here."""
    if threading.current_thread().name.startswith(_NAME):
        return work(*args, **kwargs)
    global _last_done
    _open.append(None)
    try:
        return _thread.submit(work, *args, **kwargs).result()
    finally:
        _open.pop()
        _last_done = next(_done)


def let_pass() -> None:
    """Wait for the end of the work under way, if there is any, and `PATIENCE_S` at most.

    It takes no lock: whoever asks may hold one that the work needs.
    """
    last, until = _last_done, time.monotonic() + PATIENCE_S
    while _open and _last_done == last and time.monotonic() < until:
        time.sleep(POLL_S)


def _begin_anew() -> None:
    """A forked process has no threads but the one that forked, as where ZeroGPU lends its GPU."""
    global _thread
    _thread = ThreadPoolExecutor(1, _NAME)
    _open.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_begin_anew)
