"""The one thread that all models compute on.

torch's CPU products run on a team of OpenMP threads, and each thread that starts one gets a team
of its own. As soon as there are more such threads than cores, GNU's OpenMP lets idle ones sleep
at once instead of waiting a moment for more work, and waking them hundreds of times a step makes
it take twice as long. One thread has one team.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_NAME = "models"
_thread = ThreadPoolExecutor(1, _NAME)
_open: list[None] = []  # one for each who waits for work to be done


def on_model_thread(
    work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Do the work there and wait for it; its errors are raised here."""
    if threading.current_thread().name.startswith(_NAME):
        return work(*args, **kwargs)
    _open.append(None)
    try:
        return _thread.submit(work, *args, **kwargs).result()
    finally:
        _open.pop()


def is_idle() -> bool:
    """Whether work that is given to it now would begin at once, unless somebody is quicker."""
    return not _open


def _begin_anew() -> None:
    """A forked process has no threads but the one that forked, as where ZeroGPU lends its GPU."""
    global _thread
    _thread = ThreadPoolExecutor(1, _NAME)
    _open.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_begin_anew)
