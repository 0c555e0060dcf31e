"""Pairs of timings, the median of their ratios, and all of them as one table."""

import importlib.metadata
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from explorer.backends.machine import processor
from explorer.backends.model_thread import on_model_thread

SECONDS = Callable[[], float]
Result = TypeVar("Result")
PACKAGES = ("torch", "transformers", "gradio", "numpy")


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison, in milliseconds."""

    name: str
    ours: float
    baseline: float
    against: str
    ratio: float
    target: str

    def __str__(self) -> str:
        return (
            f"{self.name}\n  {self.ours:8.2f} ms against {self.baseline:8.2f} ms of "
            f"{self.against}\n  {said(self.ratio)} (target: {self.target})"
        )


measured: list[Line] = []  # of this run, for the table at its end


def said(ratio: float) -> str:
    return f"{ratio:.3f}× the time" if ratio > 0.5 else f"{1 / ratio:.1f}× faster"


def let_quicken() -> None:
    """Wait until the passes of models that were loaded are recorded."""
    for thread in threading.enumerate():
        if thread.name.startswith("quicken"):
            thread.join()


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def computed(work: Callable[[], object]) -> float:
    """The same on the thread that models compute on: a second one would slow down both."""

    def compute() -> float:
        with torch.inference_mode():
            return timed(work)

    return on_model_thread(compute)


def aside(work: Callable[..., Result], *args: Any) -> Result:
    """In a thread of its own: the team that torch may give it ends with it.

    Teams that stay make those of the models' thread sleep between operations.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work, *args).result()


def compare(name: str, ours: SECONDS, baseline: SECONDS, against: str, target: str, n: int) -> None:
    """Run both in turn; the median of the pairwise ratios."""
    for warm_up in (ours, baseline):
        warm_up()
    record(name, [(ours() * 1e3, baseline() * 1e3) for _ in range(n)], against, target)


def record(name: str, pairs: list[tuple[float, float]], against: str, target: str) -> None:
    """Print a comparison of pairs of milliseconds, and keep it for the table."""
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    measured.append(Line(name, mine, theirs, against, ratio, target))
    print(measured[-1], flush=True)


def table() -> str:
    """All that was measured, as Markdown, and on what."""
    rows = [
        f"| {line.name} | {line.ours:,.1f} | {line.against} | {line.baseline:,.1f} "
        f"| {said(line.ratio)} | {line.target} |"
        for line in measured
    ]
    return "\n".join(
        [
            machine(),
            "",
            "| what | ms | baseline | ms | ratio | target |",
            "|---|--:|---|--:|---|---|",
            *rows,
        ]
    )


def machine() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"
