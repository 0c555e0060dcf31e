"""Speeds as ratios against a named baseline in the same run: `python -m tests.bench`.

Timings of one machine say little; each line here is the median of pairs measured in turn. The
table at the end has all of them, the machine and the versions.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from explorer.backends import LocalModels, default_models_dir
from explorer.backends.catalogue import DEFAULT_MODEL
from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.local import LocalBackend
from explorer.backends.model_thread import on_model_thread
from explorer.backends.prefix_memory import PrefixMemory
from tests.bench_decoding import bench_lab, bench_slider
from tests.bench_llama_cpp import bench_llama_cpp
from tests.bench_loading import bench_loading
from tests.bench_look_ahead import bench_look_ahead
from tests.bench_start import bench_start
from tests.browser.bench_click import bench_click
from tests.browser.bench_tree import bench_tree
from tests.load import bench_load
from tests.timing import aside, compare, computed, let_quicken, table, timed

PARTS = (
    *("decoding", "step", "ahead", "llama_cpp", "click", "tree"),
    *("start", "loading", "load"),
)


def fresh(backend: LocalBackend) -> LocalBackend:
    """One that remembers nothing yet; its steps are recorded, as the app's soon are."""
    let_quicken()
    twin = LocalBackend(backend.model, backend.tokenizer, backend.info, PrefixMemory(2**31))
    twin._passes._together = backend._passes._together
    twin._passes._can_share = backend._passes._can_share
    return twin


def unseen_tokens() -> Iterator[int]:
    yield from range(1000, 40000)


def bench_step(name: str, loaded: LocalBackend, length: int, n: int) -> None:
    backend = fresh(loaded)
    rng = np.random.default_rng(0)
    prefix = tuple(int(i) for i in rng.integers(1000, 40000, length))
    tokens = unseen_tokens()
    backend.next_distribution(prefix)
    model = backend.model
    cache = new_cache(model.config)
    computed(lambda: model(torch.tensor([prefix]), past_key_values=cache, use_cache=True))

    def step() -> float:
        longer = (*prefix, next(tokens))
        return timed(lambda: backend.next_distribution(longer))

    def bare() -> float:
        past, next_id = fork(cache, length), torch.tensor([[next(tokens)]])
        return computed(lambda: model(next_id, past_key_values=past))

    def whole(**options: object) -> float:
        ids = torch.tensor([(*prefix, next(tokens))])
        return computed(lambda: model(ids, **options))

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
    as_loaded = on_model_thread(
        AutoModelForCausalLM.from_pretrained, model.config.name_or_path, dtype=model.dtype
    )

    def eager() -> float:
        past, next_id = fork(cache, length), torch.tensor([[next(tokens)]])
        return computed(lambda: as_loaded(next_id, past_key_values=past))

    matrices = [matrix.detach().flatten() for matrix in model.parameters()]
    room = torch.empty(max(map(len, matrices)))

    def weights() -> float:
        return computed(lambda: [room[: len(matrix)].copy_(matrix) for matrix in matrices])

    compare(
        f"{name}: the model's own step after {length} tokens",
        bare,
        eager,
        "the same model as transformers loads it",
        "less",
        n,
    )
    compare(
        f"{name}: the model's own step after {length} tokens",
        bare,
        weights,
        "copying every weight once, which is what memory gives",
        "as close as can be",
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


def bench_int8(models: LocalModels, length: int, n: int) -> None:
    """The rounded weights' step against the full ones'."""
    prefix = tuple(int(i) for i in np.random.default_rng(0).integers(1000, 40000, length))
    tokens = unseen_tokens()

    def stepping(name: str) -> Callable[[], float]:
        loaded = models.get(name)
        assert isinstance(loaded, LocalBackend)
        backend = fresh(loaded)
        backend.next_distribution(prefix)

        def step() -> float:
            longer = (*prefix, next(tokens))
            return timed(lambda: backend.next_distribution(longer))

        return step

    compare(
        f"{DEFAULT_MODEL}-int8: step after {length} tokens",
        stepping(f"{DEFAULT_MODEL}-int8"),
        stepping(DEFAULT_MODEL),
        "the same with float32 weights",
        "less",
        n,
    )


def bench_models(folder: Path, chosen: argparse.Namespace) -> None:
    models = LocalModels(folder, DEFAULT_MODEL, public=False, budget_bytes=2**31)
    for name in (DEFAULT_MODEL, "gemma-3-270m"):
        backend = models.get(name)
        assert isinstance(backend, LocalBackend)
        if "step" in chosen.parts:
            for length in (32, 512):
                aside(bench_step, name, backend, length, chosen.n)
        if "ahead" in chosen.parts:
            aside(bench_look_ahead, name, backend, chosen.n)
    if "step" in chosen.parts:
        aside(bench_int8, models, 32, chosen.n)
    default = models.get(DEFAULT_MODEL)
    assert isinstance(default, LocalBackend)
    if "llama_cpp" in chosen.parts and chosen.llama_cpp and chosen.gguf:
        for name, weights in ((DEFAULT_MODEL, "float32"), (f"{DEFAULT_MODEL}-int8", "int8")):
            backend = models.get(name)
            assert isinstance(backend, LocalBackend)
            about = f"{DEFAULT_MODEL}, {weights}"
            there = (chosen.llama_cpp, chosen.gguf, chosen.n)
            aside(bench_llama_cpp, about, fresh(backend), *there)
    if "click" in chosen.parts:
        aside(bench_click, folder, fresh(default), chosen.n)
    if "tree" in chosen.parts:
        aside(bench_tree, folder, default, chosen.n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("-n", type=int, default=40, help="pairs for each line")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--llama-cpp", type=Path, help="a Python that has llama-cpp-python")
    parser.add_argument("--gguf", type=Path, help="the default model's GGUF file, for llama.cpp")
    chosen = parser.parse_args()
    folder = chosen.models_dir or default_models_dir()
    if "decoding" in chosen.parts:
        aside(bench_slider, chosen.n)
        aside(bench_lab, chosen.n)
    if {"step", "ahead", "llama_cpp", "click", "tree"} & set(chosen.parts):
        bench_models(folder, chosen)
    if "start" in chosen.parts:
        aside(bench_start, folder, max(3, chosen.n // 10))
    if "loading" in chosen.parts:
        aside(bench_loading, folder, max(3, chosen.n // 10))
    if "load" in chosen.parts:
        aside(bench_load, folder, max(3, chosen.n // 10))
    print(f"\n{table()}")


if __name__ == "__main__":
    main()
