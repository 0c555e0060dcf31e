"""Pairs of timings, and the median of their ratios."""

import statistics
import time
from collections.abc import Callable

SECONDS = Callable[[], float]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, ours: SECONDS, baseline: SECONDS, against: str, target: str, n: int) -> None:
    """Run both in turn and print the median of the pairwise ratios."""
    for warm_up in (ours, baseline):
        warm_up()
    pairs = [(ours(), baseline()) for _ in range(n)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    faster = f"{ratio:.3f}× the time" if ratio > 0.5 else f"{1 / ratio:.1f}× faster"
    print(f"{name}\n  {mine * 1e3:8.2f} ms against {theirs * 1e3:8.2f} ms of {against}")
    print(f"  {faster} (target: {target})", flush=True)
