"""How long a step of one model takes while another one is loaded."""

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.backends import LocalModels

QUIET_S = 6  # of steps before the load begins
PAUSE_S = 0.3  # a process that sleeps 10 ms and wakes so much later was stopped, as we were
WATCH = f"""
import time
last = time.perf_counter()
while True:
    time.sleep(0.01)
    now = time.perf_counter()
    if now - last > {PAUSE_S}:
        print(last, now, flush=True)
    last = now
"""
Step = tuple[float, float]  # when it began, seconds


@contextmanager
def _pauses() -> Iterator[list[Step]]:
    """Times in which the whole machine stood still: no fault of ours."""
    found: list[Step] = []
    watcher = subprocess.Popen([sys.executable, "-c", WATCH], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    try:
        yield found
    finally:
        time.sleep(0.1)
        watcher.kill()
        for line in watcher.stdout:
            start, end = map(float, line.split())
            found.append((start, end))
        watcher.wait()


def _summary(steps: list[float]) -> str:
    p95 = statistics.quantiles(steps, n=20, method="inclusive")[-1]
    middle = statistics.median(steps)
    return f"p50 {middle * 1e3:.0f}, p95 {p95 * 1e3:.0f}, max {max(steps) * 1e3:.0f} ms"


def bench_second_load(
    folder: Path, first: str = "smollm2-135m-instruct", second: str = "gemma-3-270m"
) -> None:
    """Steps of the first model before and while the second one is loaded."""
    models = LocalModels(folder, first, public=False, budget_bytes=2**31)
    backend = models.get(first)
    prefix = backend.encode("The quick brown fox jumps over the lazy dog, and then")
    backend.next_distribution(prefix)
    steps: list[Step] = []
    stop = threading.Event()

    def work() -> None:
        for token_id in range(1000, 40000):
            if stop.is_set():
                return
            start = time.perf_counter()
            backend.next_distribution((*prefix, token_id))
            steps.append((start, time.perf_counter() - start))

    with _pauses() as pauses:
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(QUIET_S)
        begun = time.perf_counter()
        models.get(second)
        ended = time.perf_counter()
        stop.set()
        thread.join()
    steps = [
        (start, seconds)
        for start, seconds in steps
        if not any(start < end and begin < start + seconds for begin, end in pauses)
    ]
    before = [seconds for start, seconds in steps if start + seconds < begun]
    during = [seconds for start, seconds in steps if begun <= start + seconds and start < ended]
    print(f"{first}: a step while {second} is loaded ({ended - begun:.1f} s)")
    if len(before) < 2 or len(during) < 2:
        print("  the machine stood still for too long to tell", flush=True)
        return
    print(f"  {_summary(during)} against {_summary(before)} before")
    ratio = max(during) / statistics.median(before)
    print(f"  slowest {ratio:.1f}× the median before (target: at most 3×, and 1 s)", flush=True)


if __name__ == "__main__":
    bench_second_load(Path(sys.argv[1]))
