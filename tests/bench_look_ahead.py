"""Speeds of looking ahead and of scoring a text, against doing it token by token."""

import numpy as np
import torch

from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory
from explorer.session import BeamSearch, run
from tests.timing import compare, computed, timed

WIDTH, DEPTH = 8, 10
PROMPT_TOKENS = 32
TEXT_TOKENS = 1000

Prefix = tuple[int, ...]


def _fresh(backend: LocalBackend) -> LocalBackend:
    return LocalBackend(backend.model, backend.tokenizer, backend.info, PrefixMemory(2**31))


def _random_text(length: int) -> Prefix:
    return tuple(int(i) for i in np.random.default_rng(0).integers(1000, 40000, length))


def bench_beam(name: str, loaded: LocalBackend, n: int) -> None:
    """A whole look-ahead from a prefix that is on the screen, and nothing else remembered."""
    prefix = _random_text(PROMPT_TOKENS)
    search = BeamSearch(prefix, WIDTH, DEPTH)
    *_, found = run(search, _fresh(loaded))
    paths = [path.token_ids for path in found.paths()]
    model = loaded.model
    cache = new_cache(model.config)
    computed(lambda: model(torch.tensor([prefix]), past_key_values=cache, use_cache=True))

    def warm() -> LocalBackend:
        backend = _fresh(loaded)
        backend.next_distribution(prefix)
        return backend

    def ours() -> float:
        backend = warm()
        return timed(lambda: list(run(search, backend)))

    def apart() -> float:
        """The same paths, each step a cached pass of one token, each path from the prefix."""
        backends = [warm() for _ in paths]

        def walk() -> None:
            for backend, path in zip(backends, paths, strict=True):
                for end in range(1, len(path) + 1):
                    backend.next_distribution(prefix + path[:end])

        return timed(walk)

    def bare() -> float:
        def walk() -> None:
            for path in paths:
                past = fork(cache, len(prefix))
                for token_id in path:
                    model(torch.tensor([[token_id]]), past_key_values=past)

        return computed(walk)

    title = f"{name}: beam search of width {WIDTH} and depth {DEPTH}"
    target = "at most a third of the time"
    compare(title, ours, apart, f"{WIDTH} separate paths of {DEPTH} cached steps", target, n)
    compare(title, ours, bare, f"{WIDTH} × {DEPTH} bare cached model(next_id)", target, n)


def bench_score(name: str, loaded: LocalBackend, n: int) -> None:
    """A long text, every token with its probability and rank."""
    text = _random_text(TEXT_TOKENS)

    def at_once() -> float:
        backend = _fresh(loaded)
        return timed(lambda: backend.score(text))

    def one_by_one() -> float:
        backend = _fresh(loaded)

        def walk() -> None:
            for end in range(1, len(text)):
                backend.next_distribution(text[:end]).rank_of(text[end])

        return timed(walk)

    compare(
        f"{name}: scoring {TEXT_TOKENS} tokens in one pass",
        at_once,
        one_by_one,
        "a cached step for each token",
        "at least 5× faster",
        n,
    )


def bench_look_ahead(name: str, loaded: LocalBackend, n: int) -> None:
    bench_beam(name, loaded, max(3, n // 4))
    bench_score(name, loaded, max(2, n // 20))
