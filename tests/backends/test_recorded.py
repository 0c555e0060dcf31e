"""A recorded pass gives what the model itself does, or there is none."""

import copy
import gc
import itertools
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from explorer.backends import fast_linear, recorded
from explorer.backends.fast_linear import FastLinear, let_reorder, speed_up_linear_layers
from explorer.backends.int8 import round_linear_layers
from explorer.backends.local import LocalBackend
from explorer.backends.recorded import record
from explorer.backends.together import Together
from tests.backends import tiny
from tests.backends.reusing import FULL_PASSES, REUSING, assert_right, forwarded, in_threads
from tests.backends.test_together import TEXTS, caches

LAST = [9, 8, 7]


def quickened(name: str) -> LocalBackend:
    backend = tiny.backend(name)
    backend.quicken()
    assert backend._passes._together is not None
    return backend


@pytest.mark.parametrize("name", REUSING)
def test_steps_need_no_python_and_are_right(name: str) -> None:
    backend = quickened(name)
    steps = [(*text, *LAST[:length]) for length in range(4) for text in TEXTS[:3]]
    for text in steps[:3]:
        backend.next_distribution(text)
    with forwarded(backend) as counts:
        for step in steps[3:]:
            backend.next_distribution(step)
    assert counts == []
    for step in steps:
        assert_right(name, backend, step)


@pytest.mark.parametrize("name", REUSING)
def test_others_work_while_it_is_made(name: str) -> None:
    backend = tiny.backend(name)
    rng = np.random.default_rng(5)
    walks = [tuple(int(one) for one in rng.integers(5, 300, 20)) for _ in range(4)]

    def work(number: int) -> None:
        if number == len(walks):
            backend.quicken()
            return
        for end in range(5, 20):
            backend.next_distribution(walks[number][:end])

    in_threads(len(walks) + 1, work)
    for walk in walks:
        for end in range(5, 20):
            assert_right(name, backend, walk[:end])


@pytest.mark.parametrize("name", FULL_PASSES)
def test_a_model_without_a_cache_stays_as_it_is(name: str) -> None:
    backend = tiny.backend(name)
    backend.quicken()
    assert backend._passes._together is None
    assert_right(name, backend, TEXTS[0])


class Deciding(nn.Module):
    """Does something else for larger numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 100 else x


def test_what_decides_by_its_input_is_not_recorded() -> None:
    assert record(Deciding(), (torch.ones(3),)) is None
    assert record(nn.Linear(3, 3), (torch.ones(3),)) is not None


def test_a_model_that_decides_by_its_input_runs_in_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = LlamaForCausalLM.forward

    def forward(self: Any, input_ids: Tensor, **inputs: Any) -> Any:
        if input_ids.max() > 100:
            inputs["inputs_embeds"] = 2 * self.get_input_embeddings()(input_ids)
            return inner(self, None, **inputs)
        return inner(self, input_ids, **inputs)

    backend = tiny.backend("llama")
    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    backend.quicken()
    assert backend._passes._together is None


def test_one_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "explorer.backends.together.record",
        lambda module, inputs: lambda *inputs: torch.zeros(inputs[0].shape[1], tiny.VOCAB_SIZE),
    )
    backend = tiny.backend("llama")
    backend.quicken()
    assert backend._passes._together is None
    backend.next_distribution(TEXTS[0])
    assert_right("llama", backend, (*TEXTS[0], 9))


def test_a_process_makes_so_many_and_no_more() -> None:
    made = [record(nn.Linear(2, 2), (torch.ones(2),)) for _ in range(recorded.MOST + 2)]
    assert [one is not None for one in made] == [True] * recorded.MOST + [False] * 2


def test_weights_go_with_the_last_user() -> None:
    first = tiny.backend("llama")
    backend = LocalBackend(copy.deepcopy(first.model), first.tokenizer, first.info)
    backend.quicken()
    weight = weakref.ref(backend.model.get_input_embeddings().weight)
    backend.next_distribution(TEXTS[0])
    backend.next_distribution((*TEXTS[0], 9))
    assert backend._passes._together is not None
    del backend
    gc.collect()
    assert weight() is None


@pytest.mark.parametrize("recorded_first", [True, False])
def test_weights_in_another_order_are_used_and_given_up(
    recorded_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_linear, "_mkl_is_slow_here", lambda: True)
    model = copy.deepcopy(tiny.MODELS["llama"]())
    speed_up_linear_layers(model)
    layers = [layer for layer in model.modules() if isinstance(layer, FastLinear)]
    together = Together(model)

    def logits() -> Tensor:
        with torch.inference_mode():
            return together.step(caches(model, TEXTS[:3]), LAST)

    plain = logits()
    if recorded_first:
        assert together.record(caches(model, TEXTS[:3]), LAST)
        torch.testing.assert_close(logits(), plain, rtol=1e-4, atol=1e-4)
    let_reorder(model, 2**30)
    for _ in range(3):
        caches(model, TEXTS[:2])  # products of several rows
    if not recorded_first:
        assert together.record(caches(model, TEXTS[:3]), LAST)
    assert layers
    for layer in layers:
        assert layer.reordered.weights is layer.reordered._compiled[0].reordered is not None
    torch.testing.assert_close(logits(), plain, rtol=1e-4, atol=1e-4)
    fast_linear.forget_reordered(model)
    assert all(layer.reordered._compiled[0].reordered is None for layer in layers)
    torch.testing.assert_close(logits(), plain, rtol=1e-4, atol=1e-4)


def test_python_runs_meanwhile() -> None:
    """A recorded loop of matrix products holds no lock: another thread counts on."""

    class Long(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(200):
                x = x @ x / 30
            return x

    run = record(Long(), (torch.randn(30, 30),))
    assert run is not None
    counted, done = itertools.count(), threading.Event()
    thread = threading.Thread(target=lambda: [run(torch.randn(900, 900)), done.set()])
    thread.start()
    while not done.is_set():
        next(counted)
    thread.join()
    assert next(counted) > 1000


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_rounded_model_is_recorded(count: int) -> None:
    model = copy.deepcopy(tiny.MODELS["llama"]())
    round_linear_layers(model)
    together, texts = Together(model), [tuple(range(5, 9 + n)) for n in range(count)]
    with torch.inference_mode():
        plain = together.step(caches(model, texts), [9] * count)
        assert together.record(caches(model, TEXTS[:3]), LAST)
        recorded = together.step(caches(model, texts), [9] * count)
    torch.testing.assert_close(recorded, plain, rtol=1e-4, atol=1e-4)
