"""Speeds as ratios against a named baseline in the same run: `python -m tests.bench`.

Timings of one machine say little; each line here is the median of pairs measured in turn.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from explorer.backends import LocalModels, default_models_dir
from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory
from tests.bench_decoding import bench_lab, bench_slider
from tests.bench_look_ahead import bench_look_ahead
from tests.timing import compare, timed


def fresh(backend: LocalBackend) -> LocalBackend:
    return LocalBackend(backend.model, backend.tokenizer, backend.info, PrefixMemory(2**31))


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("-n", type=int, default=40, help="pairs for each line")
    parser.add_argument("--no-browser", action="store_true")
    chosen = parser.parse_args()
    folder = chosen.models_dir or default_models_dir()
    bench_slider(chosen.n)
    bench_lab(chosen.n)
    models = LocalModels(folder, "smollm2-135m-instruct", public=False, budget_bytes=2**31)
    for name in ("smollm2-135m-instruct", "gemma-3-270m"):
        backend = models.get(name)
        assert isinstance(backend, LocalBackend)
        for length in (32, 512):
            bench_step(name, backend, length, chosen.n)
        bench_look_ahead(name, backend, chosen.n)
    if not chosen.no_browser:
        from tests.browser.bench_click import bench_click
        from tests.browser.bench_tree import bench_tree

        smollm2 = models.get("smollm2-135m-instruct")
        assert isinstance(smollm2, LocalBackend)
        bench_click(folder, fresh(smollm2), chosen.n)
        bench_tree(folder, smollm2, chosen.n)


if __name__ == "__main__":
    main()
