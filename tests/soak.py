"""A long day in short: `python -m tests.soak --minutes 30`, ten clients who do what they like.

Starts the real app and drives it over HTTP: every action of the page and every endpoint, in an
order that a seed decides; sometimes nonsense, sometimes gone before the answer, sometimes as
somebody new. Prints how the app stands over time, from its own metrics. Ends with 1 if a
request was answered by anything but a result or a named error.
"""

import argparse
import json
import random
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from explorer.backends import default_models_dir
from explorer.decoding import PRESETS
from tests.conftest import start_app
from tests.load import WORDS, quantile
from tests.ui.hostile import NUMBERS, TEXTS, nested

ENDPOINTS = {"tokenize": 4, "next_tokens": 6, "generate": 7, "score": 4}
READING = ("csv", "path_csv", "json", "text", "link", "branches")
MOVING = ("step", "undo", "redo", "reset", "ahead_on")
NAMED = {400, 401, 404, 413, 422, 429, 503}  # by which Gradio or the gate says what is wrong
PAGE_FIELDS = {"top_n": 50, "whole_strip": True, "with_ledger": True, "with_tree": True}


@dataclass
class Seen:
    """What all clients have met with."""

    begun: float = field(default_factory=time.monotonic)
    clicks: list[tuple[float, float]] = field(default_factory=list)  # when, seconds
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def click(self, seconds: float) -> None:
        self.clicks.append((time.monotonic() - self.begun, seconds))


class Wanderer:
    """Somebody who does this and that, by the dice."""

    def __init__(self, url: str, component_id: int, seed: int, seen: Seen) -> None:
        self._url, self._component_id, self._seen = url, component_id, seen
        self._dice = random.Random(seed)
        self._new()

    def _new(self) -> None:
        """Another browser: the old one says no goodbye."""
        # The server closes what is idle for five seconds; a request that meets this is lost.
        self._http = httpx.Client(
            base_url=f"{self._url}/gradio_api/",
            timeout=120,
            limits=httpx.Limits(keepalive_expiry=1),
        )
        self._key = str(uuid.UUID(int=self._dice.getrandbits(128)))
        self._ask()

    def live(self, end: float) -> None:
        ways = {
            self._sample: 40,
            self._move: 14,
            self._settings: 8,
            self._look: 8,
            self._read: 6,
            self._ask: 6,
            self._travel: 3,
            self._call: 6,
            self._call_and_forget: 2,
            self._nonsense: 8,
            self._noise: 4,
            self._leave: 4,
            self._new: 3,
        }
        while time.monotonic() < end:
            self._dice.choices([*ways], [*ways.values()])[0]()
            time.sleep(self._dice.uniform(0, 0.4))

    # one request

    def _act(self, action: Any, timeout: float = 120, **more: Any) -> dict[str, Any]:
        envelope = {"component_id": self._component_id, "fn_name": "act", "session_hash": "soak"}
        data = {"action": action, "key": self._key, **more}
        body = json.dumps({**envelope, "data": data}).encode()
        return self._page(body, timeout)

    def _page(self, body: bytes, timeout: float = 120) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        answer = self._http.post("component_server", content=body, headers=headers, timeout=timeout)
        if answer.status_code != 200:
            self._refused(answer)
            return {}
        found: dict[str, Any] = json.loads(answer.json())
        if "error" in found:
            self._said(found["error"]["code"])
        else:
            self._said("ok")
        return dict(found.get("ok") or {})

    def _said(self, code: str) -> None:
        self._seen.answers[code] += 1
        if code == "unexpected":
            self._seen.wrong.append("an unexpected error of the page")

    def _refused(self, answer: httpx.Response) -> None:
        self._seen.answers[str(answer.status_code)] += 1
        if answer.status_code not in NAMED or "detail" not in answer.json():
            self._seen.wrong.append(f"{answer.status_code}: {answer.text[:200]}")

    # what there is to do

    def _ask(self) -> None:
        count = self._dice.choice((1, 3, 12, 24, 200))
        prompt = " ".join(self._dice.choices(WORDS, k=count))
        self._act("ask", prompt=prompt, seed=self._dice.randrange(2**32), **PAGE_FIELDS)

    def _sample(self) -> None:
        for _ in range(self._dice.choice((1, 1, 5, 20))):
            start = time.monotonic()
            self._act("sample")
            self._seen.click(time.monotonic() - start)

    def _move(self) -> None:
        number = self._dice.randrange(8)
        some: list[tuple[str, dict[str, Any]]] = [
            *((action, {}) for action in MOVING),
            ("pick", {"token_id": self._dice.randrange(49_152)}),
            ("rewind", {"depth": number}),
            ("jump", {"position": 1}),
            ("go_to", {"node_id": number}),
            ("mark", {"node_id": number, "name": "here", "pinned": True}),
            ("delete", {"node_id": number}),
            ("adopt", {"token_ids": self._dice.sample(range(49_152), 3)}),
        ]
        action, more = self._dice.choice(some)
        self._act(action, with_tree=True, **more)

    def _settings(self) -> None:
        self._act("settings", chain=self._dice.choice([*PRESETS]), with_ledger=True)
        steps = [{"step": "constraint", "regex": f"[a-z ]{{1,{self._dice.randrange(2, 99)}}}"}]
        self._act("settings", chain=self._dice.choice(([], steps)))

    def _look(self) -> None:
        number = self._dice.randrange(100)
        some: list[tuple[str, dict[str, Any]]] = [
            ("ahead", {"kind": "beam", "width": 4, "depth": 4}),
            ("ahead", {"kind": "cover", "share": 0.5, "depth": 3, "most_nodes": 30}),
            ("ahead", {"kind": "sample", "depth": 5}),
            ("characters", {"passes": 2}),
            ("words", {"words": self._dice.sample(WORDS, 2)}),
            ("change", {"token_id": number}),
            ("roll", {"count": 1000}),
            ("fall", {"u": number / 100}),
            ("encode", {"text": "word"}),
        ]
        action, more = self._dice.choice(some)
        self._act(action, **more)

    def _read(self) -> None:
        self._act(self._dice.choice(READING))

    def _travel(self) -> None:
        """By link or file into a session of its own."""
        kind = self._dice.choice(("link", "json"))
        found = self._act(kind).get(kind)
        if isinstance(found, str):
            self._key = str(uuid.UUID(int=self._dice.getrandbits(128)))
            self._act("load", **{"file" if kind == "json" else "link": found})

    def _called(self) -> tuple[str, str | None]:
        name = self._dice.choice([*ENDPOINTS])
        data: list[Any] = [None] * ENDPOINTS[name]
        data[0] = " ".join(self._dice.choices(WORDS, k=5))
        data[4:] = {"next_tokens": ["llama3", 50], "generate": ["pure", 0, 5]}.get(name, [])
        if self._dice.random() < 0.2:
            data[self._dice.randrange(len(data))] = self._junk()
        answer = self._http.post(f"call/{name}", content=json.dumps({"data": data}).encode())
        if answer.status_code != 200:
            self._refused(answer)
            return name, None
        return name, str(answer.json()["event_id"])

    def _call(self) -> None:
        name, event = self._called()
        if event is not None:
            text = self._http.get(f"call/{name}/{event}").text
            fine = "event: complete" in text or "event: error" in text
            self._said("ok" if "event: complete" in text else "endpoint_error")
            if not fine or "Traceback" in text:
                self._seen.wrong.append(f"{name}: {text[:200]}")

    def _call_and_forget(self) -> None:
        self._called()

    def _junk(self) -> Any:
        return self._dice.choice([*NUMBERS[:-1], *TEXTS, nested(60), nested(900), {}, [], None])

    def _nonsense(self) -> None:
        actions = ("pick", "rewind", "settings", "ask", "load", "ahead", "words", "roll", "fall")
        fields = ("token_id", "depth", "chain", "prompt", "link", "file", "kind", "words", "u")
        more = {name: self._junk() for name in self._dice.sample(fields, 3)}
        self._act(self._dice.choice([*actions, self._junk()]), **more)

    def _noise(self) -> None:
        bodies = (b"", b"{", b"[" * 50_000, b"\xff\xfe", b'{"data": {}}', b"a" * 2_000_000)
        self._page(self._dice.choice(bodies))

    def _leave(self) -> None:
        """Close the connection in the middle of something long."""
        try:
            prompt = " ".join(self._dice.choices(WORDS, k=900))
            self._act("ask", timeout=self._dice.choice((0.02, 0.1, 0.3)), prompt=prompt)
        except httpx.TimeoutException:
            self._seen.answers["left"] += 1
            self._http.close()
            self._new()


def page_of(url: str) -> int:
    parts = httpx.get(f"{url}/config").json()["components"]
    return int(next(part["id"] for part in parts if part["props"].get("elem_id") == "explorer"))


def metrics_of(url: str) -> dict[str, float]:
    """What has no label."""
    text = httpx.get(f"{url}/metrics", timeout=60).raise_for_status().text
    families = text_string_to_metric_families(text)
    return {one.name: one.value for family in families for one in family.samples if not one.labels}


def wander(url: str, seconds: float, clients: int, seed: int, seen: Seen) -> None:
    """Let clients live for so long; what goes wrong in a client is wrong with the app."""
    component_id, end = page_of(url), time.monotonic() + seconds

    def live(number: int) -> None:
        try:
            Wanderer(url, component_id, seed * 1000 + number, seen).live(end)
        except Exception as error:
            seen.wrong.append(f"client {number}: {error!r}")

    threads = [threading.Thread(target=live, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def until_ready(url: str) -> None:
    while httpx.get(f"{url}/health", timeout=60).status_code != 200:
        time.sleep(0.5)


def row(seen: Seen, since: float, url: str) -> str:
    now, at = metrics_of(url), time.monotonic() - seen.begun
    clicks = [seconds for when, seconds in list(seen.clicks) if when >= since] or [0.0, 0.0]
    clicks = clicks if len(clicks) > 1 else clicks * 2
    return (
        f"{at / 60:7.1f} {now['process_resident_memory_bytes'] / 2**20:7.0f}"
        f" {now['explorer_remembered_bytes'] / 2**20:10.0f} {1000 * quantile(clicks, 0.5):6.0f}"
        f" {1000 * quantile(clicks, 0.95):6.0f} {len(clicks):7d} {now['explorer_threads']:7.0f}"
        f" {now['explorer_sessions']:8.0f} {now['process_open_fds']:5.0f}"
        f" {now['explorer_tokens_read_total']:11.0f}"
    )


HEAD = "minutes     MiB remembered p50/ms p95/ms  clicks threads sessions files tokens read"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=default_models_dir())
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--session-hours", type=float, default=0.05)
    chosen = parser.parse_args()
    process, url = start_app(
        chosen.models_dir,
        EXPLORER_MEMORY="256",
        EXPLORER_METRICS="on",
        EXPLORER_SESSION_HOURS=str(chosen.session_hours),
    )
    try:
        until_ready(url)
        seconds, seen = 60 * chosen.minutes, Seen()
        living = threading.Thread(
            target=wander, args=(url, seconds, chosen.clients, chosen.seed, seen)
        )
        living.start()
        print(HEAD, flush=True)
        since = 0.0
        while living.is_alive():
            living.join(seconds / 12)
            print(row(seen, since, url), flush=True)
            since = time.monotonic() - seen.begun
        print("answers:", dict(seen.answers.most_common()))
        after = _when_forgotten(lambda: metrics_of(url), 3600 * chosen.session_hours + 60)
        print(f"after their time to live, {after['explorer_sessions']:.0f} sessions are kept")
        for what, count in Counter(seen.wrong).most_common(20):
            print(f"{count} times: {what}")
        sys.exit(1 if seen.wrong or after["explorer_sessions"] else 0)
    finally:
        process.terminate()
        process.wait()


def _when_forgotten(read: Callable[[], dict[str, float]], patience_s: float) -> dict[str, float]:
    end = time.monotonic() + patience_s
    while (now := read())["explorer_sessions"] and time.monotonic() < end:
        time.sleep(1)
    return now


if __name__ == "__main__":
    main()
