"""From `python app.py` to the first table and to the model: an empty cache, and a filled one."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from explorer.backends.catalogue import DEFAULT_MODEL
from explorer.backends.first_tables import FOLDER
from explorer.backends.manifest import MANIFEST
from explorer.ui.opening import opening_prompt
from tests.conftest import start_app
from tests.timing import record

KEY = "0" * 36
POLL_S = 0.05

# The least that any program must do that shows a table of this model with these libraries.
BARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.inference_mode():
    model(**tokenizer("The capital of France is", return_tensors="pt")).logits.sort()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the command until something was there, and MiB that the app took at most."""

    table: float  # of the prompt that the page asks by itself
    model: float  # which answered a prompt that nobody had asked before
    peak: float


def bench_start(models_dir: Path, n: int) -> None:
    with tempfile.TemporaryDirectory() as empty:
        first = start(Path(empty))
    print(
        f"first start, empty cache: first table after {first.table:.1f} s, "
        f"{first.peak:,.0f} MiB at the peak"
    )
    start(models_dir)  # leaves its first table to those that are measured
    starts, bares = [], []
    for _ in range(n):
        starts.append(start(models_dir))
        bares.append(1e3 * bare(models_dir / DEFAULT_MODEL))
    against = "a script that imports torch and transformers, loads the model and runs it once"
    for name, seconds, target in (
        ("to the first table, kept by the start before", [s.table for s in starts], "at most 4 s"),
        (
            "to a table of another prompt, by the model",
            [s.model for s in starts],
            "as close as can be",
        ),
    ):
        pairs = [(1e3 * ours, theirs) for ours, theirs in zip(seconds, bares, strict=True)]
        record(f"second start, {name}", pairs, against, target)
    print(f"  {max(one.peak for one in starts):,.0f} MiB at the peak", flush=True)


def start(models_dir: Path) -> Start:
    """One start of the app, ended once its model has answered and its first table is kept."""
    began = time.perf_counter()
    process, url = start_app(models_dir)
    peaks = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks))
    watcher.start()
    try:
        with urlopen(f"{url}/config") as answer:
            parts = json.load(answer)["components"]
        page = next(part["id"] for part in parts if part["props"].get("elem_id") == "explorer")
        seconds = []
        for prompt in (opening_prompt(DEFAULT_MODEL).text, "Berlin lies in"):
            while "view" not in _ask(url, page, prompt):
                time.sleep(POLL_S)
            seconds.append(time.perf_counter() - began)
        while not (models_dir / FOLDER / DEFAULT_MODEL / MANIFEST).exists():
            time.sleep(POLL_S)
        return Start(*seconds, peaks[0])
    finally:
        process.terminate()
        process.wait()
        watcher.join()


def _ask(url: str, page: int, prompt: str) -> dict[str, object]:
    data = {"action": "ask", "key": KEY, "prompt": prompt}
    body = {"session_hash": KEY, "component_id": page, "fn_name": "act", "data": data}
    request = Request(
        f"{url}/gradio_api/component_server",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request) as answer:
        found: dict[str, object] = json.loads(json.load(answer))["ok"]
    return found


def _watch(process_id: int, peaks: list[float]) -> None:
    """The app's memory and that of the processes it starts, together."""
    try:
        app = psutil.Process(process_id)
        while app.status() != psutil.STATUS_ZOMBIE:
            total = sum(one.memory_info().rss for one in [app, *app.children(recursive=True)])
            peaks[0] = max(peaks[0], total / 2**20)
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        return


def bare(folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE, str(folder)], check=True, capture_output=True)
    return time.perf_counter() - start
