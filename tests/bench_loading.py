"""How long a step of one model takes while another one is loaded."""

import statistics
import threading
import time
from pathlib import Path

from explorer.backends import LocalModels
from tests.timing import let_quicken, record

FIRST, SECOND = "smollm2-135m-instruct", "gemma-3-270m"
QUIET_S = 6  # of steps before the load begins


def bench_loading(folder: Path, n: int) -> None:
    """Steps of the first model while the second one is loaded, as lines of the bench."""
    found = [steps_around_a_load(folder) for _ in range(n)]
    for name, of in (("in the middle", statistics.median), ("the slowest", max)):
        record(
            f"{FIRST}: a step while {SECOND} is loaded, {name}",
            [(1e3 * of(during), 1e3 * statistics.median(before)) for before, during in found],
            "a step before that",
            "as close as can be",
        )


def steps_around_a_load(folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of the first model's steps before, and while the second one is loaded."""
    models = LocalModels(folder, FIRST, public=False, budget_bytes=2**31)
    backend = models.get(FIRST)
    prefix = backend.encode("The quick brown fox jumps over the lazy dog, and then")
    backend.next_distribution(prefix)
    let_quicken()
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
    models.get(SECOND)
    let_quicken()
    ended = time.perf_counter()
    stop.set()
    thread.join()
    before = [seconds for start, seconds in steps if start + seconds < begun]
    during = [seconds for start, seconds in steps if begun <= start + seconds and start < ended]
    return before, during
