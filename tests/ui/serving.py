"""The real app in this process, on a loopback port, with a model that can be watched."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend
from explorer.backends.local import LocalBackend
from explorer.decoding import Distribution
from explorer.settings import Hosting
from explorer.ui import build_ui
from tests.backends import tiny
from tests.ui.asking import FakeModels

BYTES = [bytes([value]) for value in range(256)]


@contextmanager
def served(backend: Backend, hosting: Hosting | None = None) -> Iterator[tuple[gr.Blocks, str]]:
    """The app and its address."""
    demo = build_ui(FakeModels(small=backend), hosting)
    demo.launch(prevent_thread_lock=True, quiet=True)
    try:
        yield demo, str(demo.local_url)
    finally:
        demo.close()


class Watched:
    """Counts forward passes; each takes its time, and can be held up."""

    def __init__(self, seconds: float) -> None:
        self.forwards = 0
        self.seconds = seconds
        self.go = threading.Event()
        self.go.set()

    def forward(self) -> None:
        self.forwards += 1
        assert self.go.wait(20)
        time.sleep(self.seconds)

    def rest(self, seconds: float) -> int:
        """How many passes begin in the next seconds."""
        before = self.forwards
        time.sleep(seconds)
        return self.forwards - before


@contextmanager
def slow_tiny(seconds: float) -> Iterator[tuple[LocalBackend, Watched]]:
    backend, watched = tiny.backend("llama"), Watched(seconds)

    def forward(*_: Any) -> None:
        watched.forward()

    hook = backend.model.register_forward_pre_hook(forward)  # of a model that others use, too
    try:
        yield backend, watched
    finally:
        hook.remove()


class SlowBytes(ScriptedBackend):
    """Any text, a token for each byte, all tokens equally likely."""

    def __init__(self, seconds: float) -> None:
        super().__init__(BYTES, context_length=2000, model_id="bytes")
        self.watched = Watched(seconds)

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        if prefix not in self._distributions and len(prefix) > 1:
            self.watched.forward()
        return super().next_distribution(prefix)
