"""A class and a crowd on the real app for a while: memory, threads and sessions stay bounded."""

import json
import statistics
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from explorer.backends import Backend
from tests.conftest import start_app
from tests.load import Client, at_once
from tests.soak import Seen, metrics_of, until_ready, wander

CLIENTS, TOKENS = 6, 10
BUDGET_MIB = 128  # two rounds fill it
FIRST, ROUNDS = 3, 5
WANDERERS, WANDER_S, KEPT_S = 5, 8, 4
ALLOWED_MIB = 200  # a third of what the rounds after the first ones make


@pytest.mark.real
def test_memory_and_threads_stay_as_they_are(models_dir: Path, smollm2: Backend) -> None:
    process, url = start_app(models_dir, EXPLORER_MEMORY=str(BUDGET_MIB))
    try:
        with urlopen(f"{url}/config") as answer:
            parts = json.load(answer)["components"]
        page = next(part["id"] for part in parts if part["props"].get("elem_id") == "explorer")
        clients = [Client(url, page) for _ in range(CLIENTS)]
        while "view" not in clients[0].act("ask", prompt="The"):
            pass
        app = psutil.Process(process.pid)
        taken = []
        for number in range(FIRST + ROUNDS):
            first = number * CLIENTS

            def use(client: Client, first: int = first) -> None:
                client.ask(first + clients.index(client))  # a text of its own
                client.sample(TOKENS)

            at_once(clients, use)
            taken.append((app.memory_info().rss / 2**20, app.num_threads()))
        memory, threads = zip(*taken, strict=True)
        assert statistics.median(memory[-3:]) < statistics.median(memory[:FIRST]) + ALLOWED_MIB
        assert max(threads[FIRST:]) <= max(threads[:FIRST]) + 4  # pools grow to their size
    finally:
        process.terminate()
        process.wait()


@pytest.mark.real
def test_who_does_what_they_like_leaves_nothing_behind(models_dir: Path, smollm2: Backend) -> None:
    """Every kind of request, nonsense among them; some leave without a word."""
    process, url = start_app(
        models_dir, EXPLORER_MEMORY=str(BUDGET_MIB), EXPLORER_SESSION_HOURS=str(KEPT_S / 3600)
    )
    try:
        until_ready(url)
        seen = Seen()
        wander(url, WANDER_S, WANDERERS, 1, seen)
        assert seen.wrong == []
        assert seen.answers["ok"] > 20 and len(seen.answers) > 1
        now = metrics_of(url)
        assert now["explorer_forward_passes_total"] > 10
        assert now["explorer_tokens_read_total"] > now["explorer_forward_passes_total"]
        assert 0 < now["explorer_remembered_bytes"] <= BUDGET_MIB * 2**20
        assert now["explorer_models"] == 1 and now["explorer_model_bytes"] > 500 * 2**20
        time.sleep(KEPT_S)  # nobody comes any more, so nothing but time passes
        assert metrics_of(url)["explorer_sessions"] == 0
    finally:
        process.terminate()
        process.wait()
