"""What a server says beside what the local backend says, and how fast thirty people get it."""

import math
import statistics
import time
from pathlib import Path

import httpx
import numpy as np

from explorer.backends.base import Backend
from explorer.decoding import Temperature, TopP, decode, draw, uniform
from tests.conftest import start_app
from tests.load import Client, at_once, quantile

PROMPTS = (
    "The capital of France is",
    "Once upon a time there was a",
    "def fibonacci(n):\n    ",
    "吾輩は猫である。名前は",
)
TEXT = (
    "The quick brown fox jumps over the lazy dog while rain falls on old stone roofs, "
    "and people walk home from work with bread, apples and long thoughts about winter."
)
STEPS = 50
SHOWN = 20
CHAIN = (Temperature(0.9), TopP(0.95))


def compare(remote: Backend, local: Backend) -> None:
    """Table, scores, seeded sampling and greedy continuation, each against the local backend."""
    print(f"\n{remote.info.model_id} against {local.info.model_id} ({local.info.dtype})")
    print(f"{'prompt':34} top-{SHOWN}  largest |Δp|  total variation  coverage")
    for prompt in PROMPTS:
        prefix = local.encode(prompt)
        assert remote.encode(prompt) == prefix, "the server reads the text as other tokens"
        print(f"{prompt[:30]!r:34} {_beside(remote, local, prefix)}")
    _compare_scores(remote, local)
    _compare_greedy(remote, local)
    _compare_draws(remote, local)


def _beside(remote: Backend, local: Backend, prefix: tuple[int, ...]) -> str:
    theirs, ours = (one.next_distribution(prefix) for one in (remote, local))
    shared = len({*theirs.token_ids[:SHOWN].tolist()} & {*ours.token_ids[:SHOWN].tolist()})
    p, q = np.zeros(local.info.vocab_size), np.zeros(local.info.vocab_size)
    p[theirs.token_ids], q[ours.token_ids] = theirs.probabilities, ours.probabilities
    seen = theirs.token_ids
    return (
        f"{shared:3}/{SHOWN}  {np.abs(p - q)[seen].max():12.2e}  "
        f"{np.abs(p - q)[seen].sum() / 2:15.2e}  {theirs.coverage:8.4f}"
    )


def _compare_scores(remote: Backend, local: Backend) -> None:
    prefix = local.encode(TEXT)
    start = time.perf_counter()
    theirs = remote.score(prefix)
    seconds = time.perf_counter() - start
    pairs = [
        (one.logprob, other.logprob)
        for one, other in zip(theirs, local.score(prefix), strict=True)
        if one.logprob is not None and other.logprob is not None
    ]
    apart = [abs(one - other) for one, other in pairs]
    perplexities = [math.exp(-statistics.fmean(column)) for column in zip(*pairs, strict=True)]
    print(
        f"scores of {len(pairs)} of {len(prefix) - 1} tokens in {seconds:.1f} s: |Δlogprob| "
        f"mean {statistics.fmean(apart):.3f}, largest {max(apart):.3f}; "
        f"perplexity {perplexities[0]:.2f} against {perplexities[1]:.2f}"
    )


def _compare_greedy(remote: Backend, local: Backend) -> None:
    prefix = local.encode(PROMPTS[1])
    texts = []
    start = time.perf_counter()
    for backend in (remote, local):
        path = prefix
        for _ in range(STEPS):
            path = (*path, int(backend.next_distribution(path).token_ids[0]))
        texts.append(path[len(prefix) :])
        if backend is remote:
            seconds = time.perf_counter() - start
    same = next((at for at, pair in enumerate(zip(*texts, strict=True)) if len({*pair}) > 1), STEPS)
    print(f"greedy, {STEPS} tokens in {seconds:.1f} s: the same for the first {same}", end="")
    if same < STEPS:
        ours = local.next_distribution((*prefix, *texts[1][:same]))
        rank = ours.rank_of(texts[0][same])
        assert rank is not None
        first, other = ours.probabilities[0], ours.probabilities[rank - 1]
        print(f"; there the local backend has {first:.4f} and {other:.4f}", end="")
    print()


def _compare_draws(remote: Backend, local: Backend) -> None:
    """Along one drawn text, whether the same u draws the same token at each place."""
    path = local.encode(PROMPTS[1])
    same, apart, running = 0, [], True
    together = 0
    for seed in range(STEPS):
        u = uniform(7, seed)
        drawn = [
            draw(decode(backend.next_distribution(path), CHAIN, path), u)
            for backend in (local, remote)
        ]
        same += drawn[0] == drawn[1]
        running = running and drawn[0] == drawn[1]
        together += running
        theirs, ours = (one.next_distribution(path) for one in (remote, local))
        rank = theirs.rank_of(drawn[0])
        if rank is not None:
            mine = ours.rank_of(drawn[0])
            assert mine is not None
            apart.append(abs(theirs.probabilities[rank - 1] - ours.probabilities[mine - 1]))
        path = (*path, drawn[0])
    print(
        f"drawn with the same u, {STEPS} tokens: the same for the first {together}, "
        f"{same} of {STEPS} along one text; mean |Δp| of those {statistics.fmean(apart):.4f}"
    )


def load(name: str, clients: int, tokens: int, models_dir: Path, **variables: str) -> None:
    """So many people at once through the started app, each with a text of his own."""
    process, url = start_app(models_dir, **variables)
    try:
        parts = httpx.get(f"{url}/config").json()["components"]
        component_id = next(
            part["id"] for part in parts if part["props"].get("elem_id") == "explorer"
        )
        everybody = [Client(url, component_id) for _ in range(clients)]
        while (status := everybody[0].act("status")["status"])["phase"] != "ready":
            assert status["phase"] != "failed", status
            time.sleep(0.5)
        for number, client in enumerate(everybody):
            client.ask(4000 + number)
        start = time.perf_counter()
        taken = [one for some in at_once(everybody, lambda one: one.sample(tokens)) for one in some]
        seconds = time.perf_counter() - start
        middle, slow = (1000 * quantile(taken, share) for share in (0.5, 0.95))
        print(
            f"{name:28} {len(taken) / seconds:6.1f} tokens/s   "
            f"a click: p50 {middle:6.0f} ms, p95 {slow:6.0f} ms",
            flush=True,
        )
    finally:
        process.terminate()
        process.wait()
