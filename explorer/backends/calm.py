"""Loading a model without standing in the way of those who use another one.

What loads a model often holds Python's lock, and each step of another needs that lock at
every one of its hundreds of operations. So here
- garbage is not collected: a million new objects make that happen again and again, and each
  time takes as long as several steps, for all objects of the process are looked at;
- a thread that is busy in Python hands over soon: otherwise each operation of a step waits;
- while other models are there, the loading thread lets a pass go first after each burst of work:
  even a short wait adds up over the operations of a step.

Reading a large tokenizer and building its merges are long calls into C and Rust that can't be
interrupted: where others are there, `tokenizer_apart` makes them in another process.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from explorer.backends.model_thread import let_pass

SWITCH_S = 0.0002  # the default is 0.005
BURST_S = 0.02  # of computing


@contextmanager
def calmly(*, give_way: bool = False) -> Iterator[None]:
    """For one load at a time: what it changes is the process's.

    With `give_way`, which makes a load take longer, this thread lets passes go first.
    """
    collecting, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    profiling = sys.getprofile()
    if give_way:
        sys.setprofile(_giving_way())
    try:
        yield
    finally:
        sys.setprofile(profiling)
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


def _giving_way() -> Callable[..., None]:
    """For `sys.setprofile`: after each burst of work it waits for a pass that is under way."""
    looked, used = time.perf_counter(), time.thread_time()

    def at_each_call(*_: object) -> None:
        nonlocal looked, used
        if time.perf_counter() - looked < BURST_S:  # asked for first, as it costs less
            return
        if time.thread_time() - used > BURST_S:
            let_pass()
            used = time.thread_time()
        looked = time.perf_counter()

    return at_each_call
