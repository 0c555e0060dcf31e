"""Prefixes of tiny models, and what a full pass without a cache says of them."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explorer.backends.local import LocalBackend
from explorer.decoding import Distribution
from tests.backends import tiny

REUSING = ["llama", "gemma3", "gpt2"]
FULL_PASSES = ["mamba", "hybrid"]
LONG = tuple(3 + (17 * i) % 300 for i in range(3 * tiny.WINDOW + 3))  # past Gemma's window
SHORT = LONG[:20]  # within the context of GPT-2


def start_of(name: str) -> tuple[int, ...]:
    return SHORT if name == "gpt2" else LONG


@contextmanager
def forwarded(backend: LocalBackend) -> Iterator[list[int]]:
    """How many tokens each forward pass was given that Python ran."""
    counts: list[int] = []
    together = backend._passes._together
    hooks = [
        model.register_forward_pre_hook(
            lambda _model, _args, kwargs: counts.append(kwargs["input_ids"].shape[1]),
            with_kwargs=True,
        )
        for model in [backend.model, *([together.model] if together else [])]
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


@cache
def plain(name: str, prefix: tuple[int, ...]) -> NDArray[np.float64]:
    """Softmax by token id of a full pass without a cache."""
    with torch.inference_mode():
        logits = tiny.MODELS[name]()(input_ids=torch.tensor([prefix]), use_cache=False).logits
        return torch.softmax(logits[0, -1].double(), -1).numpy()


def by_token_id(distribution: Distribution) -> NDArray[np.float64]:
    return distribution.probabilities[distribution.positions]


def assert_right(name: str, backend: LocalBackend, prefix: tuple[int, ...]) -> None:
    got = by_token_id(backend.next_distribution(prefix))
    assert np.abs(got - plain(name, prefix)).max() < 1e-5


def assert_scored_right(name: str, backend: LocalBackend, prefix: tuple[int, ...]) -> None:
    for end, token in enumerate(backend.score(prefix)[1:], start=1):
        before = plain(name, prefix[:end])
        assert token.logprob == pytest.approx(np.log(before[prefix[end]]), abs=1e-3)
        # Those that tie, or nearly, may stand in either order after a pass of another shape.
        own = before[prefix[end]]
        above, below = (before > own * (1 + 1e-4)).sum(), (before >= own * (1 - 1e-4)).sum()
        assert token.rank is not None and above < token.rank <= below


def walk(name: str, backend: LocalBackend, moves: list[tuple[str, int, int]]) -> None:
    """Rewinds, branches, jumps and scores from one prefix to the next."""
    limit = backend.info.context_length
    prefix = start_of(name)
    visited = [prefix]
    for move, amount, token_id in moves:
        if move == "step" and len(prefix) < limit:
            prefix = (*prefix, token_id)
        elif move == "rewind":
            prefix = prefix[: max(1, len(prefix) - amount)]
        elif move == "branch":
            prefix = (*prefix[: max(1, len(prefix) - amount)], token_id)
        elif move == "jump":
            prefix = visited[amount % len(visited)]
        elif move == "replace":
            place = amount % len(prefix)
            prefix = (*prefix[:place], token_id, *prefix[place + 1 :])
        if move == "score":
            assert_scored_right(name, backend, prefix)
        assert_right(name, backend, prefix)
        visited.append(prefix)


def random_moves(seed: int, count: int) -> list[tuple[str, int, int]]:
    source = random.Random(seed)
    kinds = ["step", "step", "rewind", "branch", "jump", "replace", "score"]
    return [
        (source.choice(kinds), source.randrange(31), source.randrange(tiny.VOCAB_SIZE))
        for _ in range(count)
    ]


def in_threads(count: int, ask: Callable[[int], Any]) -> list[Any]:
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
