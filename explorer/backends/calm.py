"""Loading a model without standing in the way of those who use another one.

What reads a large tokenizer holds Python's lock, and each step of a model needs that lock at
every one of its hundreds of operations. So here
- JSON is read in parts, and once: all at once, a tokenizer of 30 MB takes a third of a second,
  and transformers reads it twice;
- garbage is not collected: a million new objects make that happen again and again, and each
  time takes as long as several steps, for all objects of the process are looked at;
- a thread that is busy in Python hands over soon: otherwise each operation of a step waits;
- while other models are there, the loading thread lets a pass go first after each burst of work:
  even a short wait adds up over the operations of a step.

Building a tokenizer's merges is one call into Rust that can't be interrupted: where others are
there, `tokenizer_apart` does that in another process.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, TextIO

from explorer.backends.json_in_parts import load_in_parts
from explorer.backends.model_thread import let_pass

SWITCH_S = 0.0002  # the default is 0.005
BURST_S = 0.02  # of computing


@contextmanager
def calmly(*, give_way: bool = False) -> Iterator[None]:
    """For one load at a time: what it changes is the process's, and transformers'.

    With `give_way`, which makes a load take longer, this thread lets passes go first.
    """
    from transformers import tokenization_utils_base, tokenization_utils_tokenizers

    readers = (tokenization_utils_base, tokenization_utils_tokenizers)
    collecting, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    reader = Reader()
    for module in readers:
        module.json = SimpleNamespace(**{**vars(json), "load": reader.load})
    profiling = sys.getprofile()
    if give_way:
        sys.setprofile(_giving_way())
    try:
        yield
    finally:
        sys.setprofile(profiling)
        for module in readers:
            module.json = json
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


class Reader:
    """`json.load` for the time of one load, which reads a tokenizer once for all who ask."""

    def __init__(self) -> None:
        self._read: dict[tuple[int, int, int, int], Any] = {}

    def load(self, file: TextIO, **options: Any) -> Any:
        """What `json.load` gives for a file in UTF-8; whoever gets it may change it."""
        if options:
            return json.load(file, **options)
        found = os.fstat(file.fileno())
        which = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if which not in self._read:
            self._read[which] = load_in_parts(file.buffer.read())
        return _copied(self._read[which])


def _copied(value: Any) -> Any:
    """transformers takes out what stands beside the model; the model's own lists are too long."""
    if not isinstance(value, dict):
        return deepcopy(value)
    return {
        name: dict(part) if name == "model" and isinstance(part, dict) else deepcopy(part)
        for name, part in value.items()
    }
