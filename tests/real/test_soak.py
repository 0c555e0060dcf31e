"""A class on the real app for a while: what is remembered stays within its budget."""

import json
import statistics
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from explorer.backends import Backend
from tests.conftest import start_app
from tests.load import Client, at_once

CLIENTS, TOKENS = 6, 10
BUDGET_MIB = 128  # two rounds fill it
FIRST, ROUNDS = 3, 5
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
