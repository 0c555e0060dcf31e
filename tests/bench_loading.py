"""How long a step of one model takes while another one is loaded."""

import statistics
import sys
import threading
import time
from pathlib import Path

from explorer.backends import LocalModels

QUIET_S = 6  # of steps before the load begins


def _summary(steps: list[float]) -> str:
    steps = steps * 2  # quantiles ask for two at least, and a frozen app gives one
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
    steps: list[tuple[float, float]] = []  # when it began, seconds
    stop = threading.Event()

    def work() -> None:
        for token_id in range(1000, 40000):
            if stop.is_set():
                return
            start = time.perf_counter()
            backend.next_distribution((*prefix, token_id))
            steps.append((start, time.perf_counter() - start))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(QUIET_S)
    begun = time.perf_counter()
    models.get(second)
    ended = time.perf_counter()
    stop.set()
    thread.join()
    before = [seconds for start, seconds in steps if start + seconds < begun]
    during = [seconds for start, seconds in steps if begun <= start + seconds and start < ended]
    print(f"{first}: a step while {second} is loaded ({ended - begun:.1f} s)")
    print(f"  {_summary(during)} against {_summary(before)} before")
    ratio = max(during) / statistics.median(before)
    print(f"  slowest {ratio:.1f}× the median before (target: at most 3×, and 1 s)", flush=True)


if __name__ == "__main__":
    bench_second_load(Path(sys.argv[1]))
