"""A step against llama.cpp's on the same GGUF file, which keeps its 4-bit weights.

llama.cpp runs in a Python of its own, one that has `llama-cpp-python`, and steps when told to.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from explorer.backends.local import LocalBackend
from tests.timing import record, timed

# Threads of either look for more work for a while after a step, on the cores that the other needs.
REST_S = 0.05
# Seconds of one more token after those given, for each line that it reads.
STEPPER = """
import os, sys, time
from llama_cpp import Llama
path, ids = sys.argv[1], [int(i) for i in sys.argv[2].split(",")]
model = Llama(path, n_ctx=1024, n_threads=os.cpu_count(), verbose=False)
model.eval(ids)
for line in sys.stdin:
    model.n_tokens = len(ids)
    start = time.perf_counter()
    model.eval([int(line)])
    print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def stepper(python: Path, gguf: Path, prefix: tuple[int, ...]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [str(python), "-c", STEPPER, str(gguf), ",".join(map(str, prefix))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def bench_llama_cpp(name: str, backend: LocalBackend, python: Path, gguf: Path, n: int) -> None:
    """`backend` remembers nothing yet. `name` says which weights it has."""
    for length in (32, 512):
        ids = np.random.default_rng(0).integers(1000, 40000, length)
        prefix = tuple(int(i) for i in ids)
        with stepper(python, gguf, prefix) as process:
            pairs = _pairs(backend, process, prefix, n)
        record(
            f"{name}: step after {length} tokens, with the whole distribution",
            pairs,
            "llama.cpp on the same GGUF, 4 bits a weight",
            "as close as can be",
        )


def _pairs(
    backend: LocalBackend, process: "subprocess.Popen[str]", prefix: tuple[int, ...], n: int
) -> list[tuple[float, float]]:
    """Milliseconds of a step, ours and llama.cpp's, in turn."""
    backend.next_distribution(prefix)
    pairs = []
    for token_id in range(1000, 1000 + n + 1):
        longer = (*prefix, token_id)
        time.sleep(REST_S)
        ours = timed(lambda longer=longer: backend.next_distribution(longer))  # type: ignore[misc]
        time.sleep(REST_S)
        assert process.stdin and process.stdout
        process.stdin.write(f"{token_id}\n")
        process.stdin.flush()
        pairs.append((1e3 * ours, 1e3 * float(process.stdout.readline())))
    return pairs[1:]
