"""Thirty people on one server: `python -m tests.load`, ratios against the same load one by one.

Starts the real app and drives it over HTTP on loopback, as the page does.
"""

import argparse
import math
import random
import statistics
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import urllib3

from explorer.backends import LocalModels, default_models_dir
from explorer.backends.base import Backend
from explorer.backends.catalogue import DEFAULT_MODEL
from tests.conftest import start_app
from tests.timing import record

CLIENTS, RUNNERS = 30, 5
TOKENS, RUN = 20, 50
SERIAL = 3  # clients that stand for all thirty, one after another
WORDS = (
    "The quick brown fox jumps over a lazy dog while rain falls on old stone roofs and people "
    "walk home from work with bread apples letters and long thoughts about winter"
).split()


class InLine:
    """One at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    def __enter__(self) -> None:
        me = object()
        with self._moved:
            self._line.append(me)
            self._moved.wait_for(lambda: self._line[0] is me)

    def __exit__(self, *_: object) -> None:
        with self._moved:
            self._line.popleft()
            self._moved.notify_all()


class Client:
    """One browser tab, without the browser. It takes little of the cores that the app runs on."""

    def __init__(self, url: str, component_id: int) -> None:
        self._pool, self._url = urllib3.PoolManager(timeout=120, retries=False), url
        self._component_id, self.key = component_id, str(uuid.uuid4())
        self.turn: AbstractContextManager[None] = nullcontext()

    def act(self, action: str, **more: Any) -> dict[str, Any]:
        body = {
            "session_hash": self.key,
            "component_id": self._component_id,
            "fn_name": "act",
            "data": {"action": action, "key": self.key, **more},
        }
        with self.turn:
            given = self._pool.request(
                "POST",
                f"{self._url}/gradio_api/component_server",
                body=orjson.dumps(body),
                headers={"Content-Type": "application/json"},
            )
        assert given.status == 200, given.data
        answer = orjson.loads(orjson.loads(given.data))
        assert "ok" in answer, answer
        found: dict[str, Any] = answer["ok"]
        return found

    def ask(self, seed: int) -> None:
        """A prompt of its own, and a seed."""
        prompt = " ".join(random.Random(seed).sample(WORDS, 12))
        self.act("ask", prompt=prompt, seed=seed)

    def sample(self, count: int) -> list[float]:
        """Seconds for each of `count` sampled tokens."""
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            self.act("sample")
            seconds.append(time.perf_counter() - start)
        return seconds

    def path(self) -> list[tuple[int, float | None]]:
        """Token ids and their probabilities, as the page shows them."""
        chips = self.act("open", whole_strip=True)["view"]["chips"]
        return [(part["token_id"], part["probability"]) for chip in chips for part in chip["parts"]]


def at_once(clients: list[Client], work: Callable[[Client], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(work, clients))


def quantile(seconds: list[float], share: float) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[round(100 * share) - 1]


def a_token(make: Callable[[], Client], seed: int) -> tuple[float, float]:
    """Milliseconds for each token: thirty clients at once, and one after another."""
    some, many = [make() for _ in range(SERIAL)], [make() for _ in range(CLIENTS)]
    for number, client in enumerate(some):
        client.ask(seed + number)
    start = time.perf_counter()
    for client in some:
        client.sample(RUN)
    serial = (time.perf_counter() - start) / (SERIAL * RUN)
    for number, client in enumerate(many, start=SERIAL):
        client.ask(seed + number)
    start = time.perf_counter()
    at_once(many, lambda client: client.sample(RUN))
    shared = (time.perf_counter() - start) / (CLIENTS * RUN)
    return 1e3 * shared, 1e3 * serial


def clicks(
    make: Callable[[], Client], seed: int, *, runners: int = RUNNERS, one_by_one: bool = False
) -> list[float]:
    """Seconds of each click of one client while others run; or let through one by one."""
    one, *others = clients = [make() for _ in range(1 + runners)]
    for number, client in enumerate(clients):
        client.ask(seed + number)
    if not others:
        return one.sample(RUN)
    if one_by_one:
        line = InLine()
        for client in clients:
            client.turn = line
    running = threading.Event()
    running.set()

    def run(client: Client) -> None:
        client.sample(RUN)
        running.clear()  # from here on the load is less

    threads = [threading.Thread(target=run, args=(client,)) for client in others]
    for thread in threads:
        thread.start()
    taken = []
    while running.is_set():
        taken += one.sample(1)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return taken


def bench_load(models_dir: Path, n: int) -> None:
    """Thirty at once, and a click among five, as lines of the bench."""
    with started(models_dir) as (make, _):
        a_token(make, 0)  # not counted: what is made at its first use is made by now
        pairs = [a_token(make, 1000 * number) for number in range(1, n + 1)]
        found = [
            (
                clicks(make, seed),
                clicks(make, seed + 100, one_by_one=True),
                clicks(make, seed + 200, runners=0),
            )
            for seed in range(1000 * (n + 1), 1000 * (2 * n + 1), 1000)
        ]
    record(
        f"a token for each of {CLIENTS} clients at once, over HTTP",
        pairs,
        "a token for one client after another",
        "at least 4× faster",
    )
    for share in (0.5, 0.95):
        busy, in_line, quiet = (
            [1e3 * quantile(of, share) for of in kind] for kind in zip(*found, strict=True)
        )
        for baseline, against, target in (
            (in_line, "the same requests of all six let through one by one", "less"),
            (quiet, "the same click while nobody runs", "as close as can be"),
        ):
            record(
                f"a click while {RUNNERS} others run {RUN} tokens each, p{100 * share:.0f}",
                list(zip(busy, baseline, strict=True)),
                against,
                target,
            )


def correct(make: Callable[[], Client], backend: Backend) -> None:
    """Every answer of thirty at once against the same text scored by itself."""
    clients = [make() for _ in range(CLIENTS)]

    def work(client: Client) -> list[tuple[int, float | None]]:
        client.ask(3000 + clients.index(client))
        client.sample(TOKENS)
        return client.path()

    worst = 0.0
    for number, path in enumerate(at_once(clients, work)):
        prompt = " ".join(random.Random(3000 + number).sample(WORDS, 12))
        token_ids = tuple(token_id for token_id, _ in path)
        assert token_ids[: len(path) - TOKENS] == backend.encode(prompt), "somebody else's text"
        for scored, (_, shown) in zip(backend.score(token_ids), path, strict=True):
            if scored.logprob is not None and shown is not None:
                worst = max(worst, abs(math.exp(scored.logprob) - shown))
    print(f"largest difference of a probability from the text scored alone   {worst:.1e}")


def soak(make: Callable[[], Client], process: psutil.Process, seconds: float) -> None:
    """Memory and click times over a longer load."""
    clients = [make() for _ in range(CLIENTS)]
    end, begun = time.monotonic() + seconds, time.monotonic()

    def work(client: Client) -> list[tuple[float, float]]:
        taken = []
        while time.monotonic() < end:
            client.ask(random.randrange(10**6))
            for one in client.sample(TOKENS):
                taken.append((time.monotonic() - begun, one))
        return taken

    memory: list[tuple[float, float]] = []

    def watch() -> None:
        while time.monotonic() < end:
            memory.append((time.monotonic() - begun, process.memory_info().rss / 2**20))
            time.sleep(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    taken = [one for some in at_once(clients, work) for one in some]
    watcher.join()
    for start in (0.25, 0.5, 0.75):
        low, high = start * seconds, (start + 0.25) * seconds
        rss = statistics.median(value for at, value in memory if low <= at < high)
        clicks = [value for at, value in taken if low <= at < high]
        said = f"{1000 * statistics.median(clicks):.0f} ms" if clicks else "none"
        print(f"after {low:4.0f} s: {rss:6.0f} MiB resident, median click {said}")


@contextmanager
def started(models_dir: Path) -> Iterator[tuple[Callable[[], Client], psutil.Process]]:
    """The real app, its model loaded, and how to make clients of it."""
    process, url = start_app(models_dir)
    try:
        config = httpx.get(f"{url}/config").json()
        component_id = next(
            part["id"]
            for part in config["components"]
            if part["props"].get("elem_id") == "explorer"
        )

        def make() -> Client:
            return Client(url, component_id)

        while make().act("status")["status"]["phase"] != "ready":
            time.sleep(0.5)
        yield make, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=default_models_dir())
    parser.add_argument("--soak", type=float, default=60, help="seconds; 0 for none")
    parser.add_argument("-n", type=int, default=3, help="pairs for each line")
    arguments = parser.parse_args()
    bench_load(arguments.models_dir, arguments.n)
    with started(arguments.models_dir) as (make, process):
        models = LocalModels(arguments.models_dir, DEFAULT_MODEL, public=False, budget_bytes=2**31)
        correct(make, models.get(DEFAULT_MODEL))
        if arguments.soak:
            soak(make, process, arguments.soak)


if __name__ == "__main__":
    main()
