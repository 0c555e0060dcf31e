"""From `python app.py` to the first table, with an empty cache and a filled one; peak memory."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from explorer.backends.catalogue import DEFAULT_MODEL
from tests.conftest import start_app
from tests.timing import record

KEY = "0" * 36
POLL_S = 0.2

# The least that any program must do that shows a table of this model with these libraries.
BARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.inference_mode():
    model(**tokenizer("The capital of France is", return_tensors="pt")).logits.sort()
"""


def bench_start(models_dir: Path, n: int) -> None:
    with tempfile.TemporaryDirectory() as empty:
        seconds, peak = first_table(Path(empty))
    print(
        f"first start, empty cache: first table after {seconds:.1f} s, {peak:,.0f} MiB at the peak"
    )
    pairs, peaks = [], []
    for _ in range(n):
        seconds, peak = first_table(models_dir)
        pairs.append((1e3 * seconds, 1e3 * bare(models_dir / DEFAULT_MODEL)))
        peaks.append(peak)
    record(
        "second start, to the first table",
        pairs,
        "a script that imports torch and transformers, loads the model and runs it once",
        "at most 4 s",
    )
    print(f"  {max(peaks):,.0f} MiB at the peak", flush=True)


def first_table(models_dir: Path) -> tuple[float, float]:
    """Seconds until the app has answered with a table, and MiB that it took at most."""
    start = time.perf_counter()
    process, url = start_app(models_dir)
    peaks = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks))
    watcher.start()
    try:
        with urlopen(f"{url}/config") as answer:
            parts = json.load(answer)["components"]
        page = next(part["id"] for part in parts if part["props"].get("elem_id") == "explorer")
        while "view" not in _ask(url, page):
            time.sleep(POLL_S)
        return time.perf_counter() - start, peaks[0]
    finally:
        process.terminate()
        process.wait()
        watcher.join()


def _ask(url: str, page: int) -> dict[str, object]:
    data = {"action": "ask", "key": KEY, "prompt": "The capital of France is"}
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
