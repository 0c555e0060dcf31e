"""Speeds as ratios against a named baseline in the same run: `python -m tests.bench`.

Timings of one machine say little; each line here is the median of pairs measured in turn.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from explorer.backends import LocalModels, default_models_dir
from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory, fork, new_cache
from explorer.decoding import (
    Distribution,
    MinP,
    Step,
    Temperature,
    TopK,
    TopP,
    decode,
    rank_candidates,
)

SECONDS = Callable[[], float]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, ours: SECONDS, baseline: SECONDS, against: str, target: str, n: int) -> None:
    """Run both in turn and print the median of the pairwise ratios."""
    for warm_up in (ours, baseline):
        warm_up()
    pairs = [(ours(), baseline()) for _ in range(n)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    faster = f"{ratio:.3f}× the time" if ratio > 0.5 else f"{1 / ratio:.1f}× faster"
    print(f"{name}\n  {mine * 1e3:8.2f} ms against {theirs * 1e3:8.2f} ms of {against}")
    print(f"  {faster} (target: {target})", flush=True)


def fresh(backend: LocalBackend) -> LocalBackend:
    return LocalBackend(backend.model, backend._tokenizer, backend.info, PrefixMemory(2**31))


def unseen_tokens() -> Iterator[int]:
    yield from range(1000, 40000)


def bench_step(name: str, loaded: LocalBackend, length: int, n: int) -> None:
    backend = fresh(loaded)
    rng = np.random.default_rng(0)
    prefix = tuple(int(i) for i in rng.integers(1000, 40000, length))
    tokens = unseen_tokens()
    backend.next_distribution(prefix)
    model = backend.model
    with torch.inference_mode():
        cache = new_cache(model.config)
        model(torch.tensor([prefix]), past_key_values=cache, use_cache=True)

    def step() -> float:
        longer = (*prefix, next(tokens))
        return timed(lambda: backend.next_distribution(longer))

    def bare() -> float:
        past, next_id = fork(cache, length), torch.tensor([[next(tokens)]])
        with torch.inference_mode():
            return timed(lambda: model(next_id, past_key_values=past))

    def whole(**options: object) -> float:
        ids = torch.tensor([(*prefix, next(tokens))])
        with torch.inference_mode():
            return timed(lambda: model(ids, **options))

    def last_only() -> float:
        return whole(use_cache=False, logits_to_keep=1)

    compare(
        f"{name}: step after {length} tokens",
        step,
        bare,
        "a bare cached model(next_id, past_key_values)",
        "at most 1.05×",
        n,
    )
    if length >= 512:
        for baseline, against in (
            (whole, "a plain model(ids) over all tokens, as most such tools call it"),
            (last_only, "the same without a cache and with the last logits only"),
        ):
            compare(
                f"{name}: step after {length} tokens",
                step,
                baseline,
                against,
                "at least 15× faster",
                max(3, n // 5),
            )


def bench_slider(n: int) -> None:
    size = 262_144
    logits = np.random.default_rng(0).normal(0, 3, size).astype(np.float32)
    distribution = Distribution.from_logits(logits)
    tensor = torch.from_numpy(logits)[None]
    settings = iter(np.linspace(0.5, 1.9, 10_000))
    for name, make, warpers in (
        ("temperature, top-k 50, top-p, min-p", _four(50), _theirs(50)),
        ("temperature, top-p, min-p", _four(0), _theirs(0)),
    ):

        def ours(make: Callable[[float], list[Step]] = make) -> float:
            chain = make(float(next(settings)))
            return timed(lambda: rank_candidates(decode(distribution, chain), 50))

        def theirs(warpers: Callable[[float], LogitsProcessorList] = warpers) -> float:
            processors = warpers(float(next(settings)))
            return timed(lambda: processors(None, tensor.clone()).softmax(-1).topk(50))

        compare(
            f"slider redraw at V = {size:,}: {name}, 50 rows",
            ours,
            theirs,
            "transformers' processors",
            "at least 20× faster",
            n,
        )


def _four(k: int) -> Callable[[float], list[Step]]:
    return lambda t: [Temperature(t), TopK(k), TopP(0.9), MinP(0.02)]


def _theirs(k: int) -> Callable[[float], LogitsProcessorList]:
    def make(t: float) -> LogitsProcessorList:
        chosen = [TemperatureLogitsWarper(t)]
        chosen += [TopKLogitsWarper(k)] if k else []
        return LogitsProcessorList([*chosen, TopPLogitsWarper(0.9), MinPLogitsWarper(0.02)])

    return make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("-n", type=int, default=40, help="pairs for each line")
    parser.add_argument("--no-browser", action="store_true")
    chosen = parser.parse_args()
    folder = chosen.models_dir or default_models_dir()
    bench_slider(chosen.n)
    models = LocalModels(folder, "smollm2-135m-instruct", public=False, budget_bytes=2**31)
    for name in ("smollm2-135m-instruct", "gemma-3-270m"):
        backend = models.get(name)
        assert isinstance(backend, LocalBackend)
        for length in (32, 512):
            bench_step(name, backend, length, chosen.n)
    if not chosen.no_browser:
        from tests.browser.bench_click import bench_click

        smollm2 = models.get("smollm2-135m-instruct")
        assert isinstance(smollm2, LocalBackend)
        bench_click(folder, fresh(smollm2), chosen.n)


if __name__ == "__main__":
    main()
