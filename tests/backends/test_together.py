"""Several texts in one pass: each gets what a pass of its own would give it."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from explorer.backends import passes, together
from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.local import LocalBackend
from explorer.backends.together import Together
from tests.backends import tiny
from tests.backends.reusing import (
    FULL_PASSES,
    REUSING,
    assert_right,
    assert_scored_right,
    forwarded,
    start_of,
)
from tests.backends.test_turns import WAIT_S, Held

TEXTS = [
    tuple(5 + (7 * number + 3 * i) % 300 for i in range(4 + 2 * number)) for number in range(6)
]
WIDE = tuple(5 + (11 * i) % 300 for i in range(tiny.WINDOW + 9))  # past Gemma's window


def caches(model: Any, texts: list[tuple[int, ...]]) -> list[Any]:
    made = []
    with torch.inference_mode():
        for text in texts:
            made.append(new_cache(model.config))
            model(input_ids=torch.tensor([text]), past_key_values=made[-1], use_cache=True)
    return made


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("name", REUSING)
def test_texts_that_go_on_from_the_same_one(name: str, recorded: bool) -> None:
    model, text, last = tiny.MODELS[name](), TEXTS[3], [9, 8, 7]
    [kept], several = caches(model, [text]), Together(model)
    if recorded:
        assert several.record(caches(model, TEXTS[:3]), [1, 2, 3])
    forks = [fork(kept, len(text)) for _ in last]
    with torch.inference_mode():
        for token_id, row, grown in zip(last, several.step(forks, last), forks, strict=True):
            own = model(input_ids=torch.tensor([[*text, token_id]]), use_cache=False).logits[0, -1]
            assert torch.allclose(row, own, atol=1e-4)
            after = model(input_ids=torch.tensor([[3]]), past_key_values=grown).logits[0, -1]
            ids = torch.tensor([[*text, token_id, 3]])
            assert torch.allclose(after, model(input_ids=ids).logits[0, -1], atol=1e-4)


def share(backend: LocalBackend) -> None:
    """As if it had been tried out."""
    backend._passes._together, backend._passes._can_share = Together(backend.model), True


@contextmanager
def held_up(backend: LocalBackend) -> Iterator[Held]:
    """While this lasts, whoever comes to the model waits; after it, all have their answers."""
    held = Held(backend._passes._turns)
    try:
        yield held
    finally:
        held.let_go()
        wait(held.come_so_far, WAIT_S)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", REUSING)
def test_each_text_gets_the_logits_of_its_own_pass(name: str, count: int, recorded: bool) -> None:
    model, texts = tiny.MODELS[name](), [WIDE[: 17 if name == "gpt2" else None], *TEXTS[:4]]
    texts, last = texts[:count], [9, 8, 7, 6, 5][:count]
    kept, several = caches(model, texts), Together(model)
    if recorded:  # with other texts, and another number of them
        assert several.record(caches(model, [(5, 6), (7, 8, 9), (5, 9)]), [1, 2, 3])
    before = [[layer.keys.clone() for layer in cache.layers] for cache in kept]
    forks = [fork(cache, len(text)) for cache, text in zip(kept, texts, strict=True)]
    with torch.inference_mode():
        shared = several.step(forks, last)
        for row, text, token_id, grown in zip(shared, texts, last, forks, strict=True):
            ids = torch.tensor([[*text, token_id]])
            own = model(input_ids=ids, use_cache=False).logits[0, -1]
            assert torch.allclose(row, own, atol=1e-4)
            assert grown.get_seq_length() == len(text) + 1
            after = model(input_ids=torch.tensor([[3]]), past_key_values=grown).logits[0, -1]
            ids = torch.tensor([[*text, token_id, 3]])
            assert torch.allclose(after, model(input_ids=ids).logits[0, -1], atol=1e-4)
    for cache, layers in zip(kept, before, strict=True):
        assert all(torch.equal(a.keys, b) for a, b in zip(cache.layers, layers, strict=True))
    assert model.config._attn_implementation != together.NAME


@pytest.mark.parametrize("name", REUSING)
def test_those_who_wait_for_a_step_share_it(name: str) -> None:
    backend = tiny.backend(name)
    for text in TEXTS:
        backend.next_distribution(text)
    share(backend)
    steps = [(*text, 9 + number) for number, text in enumerate(TEXTS)]
    with forwarded(backend) as counts, held_up(backend) as held:
        answers = [held.come(backend.next_distribution, step) for step in steps]
    for answer in answers:
        answer.result(WAIT_S)
    assert counts == [len(steps)]
    with forwarded(backend) as counts:
        for step in steps:
            backend.next_distribution(step)
    assert counts == []
    for step in steps:
        assert_right(name, backend, step)
    for step in steps:  # what the shared pass left behind is right to go on from
        assert_right(name, backend, (*step, 11))
        assert_scored_right(name, backend, (*step, 11))


def test_the_first_time_it_is_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = tiny.backend("llama")
    for text in TEXTS[:3]:
        backend.next_distribution(text)
    with forwarded(backend) as counts, held_up(backend) as held:
        answers = [held.come(backend.next_distribution, (*text, 9)) for text in TEXTS[:3]]
    for answer in answers:
        answer.result(WAIT_S)
    assert counts == [3, 1, 1, 1, 3]  # shared, each by itself, and then for good
    assert backend._passes._can_share is True


@pytest.mark.parametrize("wrong", ["another answer", "an error"])
def test_a_model_that_does_it_otherwise_is_stepped_one_by_one(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attend(module: Any, query: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        if wrong == "an error":
            raise ValueError("this attention can't be replaced")
        return torch.zeros_like(query).transpose(1, 2), None

    monkeypatch.setitem(together.AttentionInterface._global_mapping, together.NAME, attend)
    backend = tiny.backend("llama")
    for text in TEXTS[:3]:
        backend.next_distribution(text)
    with held_up(backend) as held:
        answers = [held.come(backend.next_distribution, (*text, 9)) for text in TEXTS[:3]]
    for answer in answers:
        answer.result(WAIT_S)
    assert backend._passes._can_share is False
    for text in TEXTS[:3]:
        assert_right("llama", backend, (*text, 9))


@pytest.mark.parametrize("name", FULL_PASSES)
def test_models_without_a_cache_are_answered_one_by_one(name: str) -> None:
    backend = tiny.backend(name)
    with held_up(backend) as held:
        answers = [held.come(backend.next_distribution, text) for text in TEXTS]
    for answer in answers:
        answer.result(WAIT_S)
    for text in TEXTS:
        assert_right(name, backend, text)


@pytest.mark.parametrize("name", REUSING)
def test_a_click_does_not_wait_for_a_long_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SHARED_CHUNK", 3)
    backend = tiny.backend(name)
    long, short = start_of(name), TEXTS[0]
    backend.next_distribution(short)
    done: list[str] = []

    def ask(prefix: tuple[int, ...], who: str) -> None:
        backend.next_distribution(prefix)
        done.append(who)

    with forwarded(backend) as counts, held_up(backend) as held:
        answers = [
            held.come(ask, long, "long"),
            held.come(ask, (*short, 9), "click"),
            held.come(backend.score, TEXTS[3]),
        ]
    for answer in answers:
        answer.result(WAIT_S)
    assert done == ["click", "long"]
    assert counts[:2] == [1, 3]  # the click, and a part of the long text
    assert_right(name, backend, long)
    assert_right(name, backend, (*short, 9))


def test_texts_that_wait_to_be_scored_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SHARED_CHUNK", 3)
    backend = tiny.backend("llama")
    texts = [tuple(range(start, start + 9)) for start in (10, 100)]
    with forwarded(backend) as counts, held_up(backend) as held:
        scored = [held.come(backend.score, text) for text in texts]
    for one in scored:
        one.result(WAIT_S)
    assert counts[0] == 3  # and not all nine
    for text in texts:
        assert_scored_right("llama", backend, text)


def test_a_class_at_random_gets_what_one_alone_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SHARED_CHUNK", 5)
    backend = tiny.backend("gemma3")
    rng = np.random.default_rng(3)
    walks = [tuple(int(one) for one in rng.integers(5, 300, 30)) for _ in range(12)]

    def walk(tokens: tuple[int, ...]) -> None:
        for end in range(6, len(tokens)):
            backend.next_distribution(tokens[:end])
            if end % 7 == 0:
                backend.score(tokens[:end])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(walk, [*walks, *walks[:4]]))
    for tokens in walks:
        assert_right("gemma3", backend, tokens[:-1])
        assert_scored_right("gemma3", backend, tokens)


def test_a_pass_that_fails_fails_only_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = tiny.backend("llama")
    for text in TEXTS[:3]:
        backend.next_distribution(text)
    share(backend)
    steps = [(*text, 9) for text in TEXTS[:3]]
    inner, lock = backend._passes._steps, threading.Lock()

    def fail_for_one(found: dict[tuple[int, ...], Any]) -> Any:
        with lock:
            if steps[1] in found:
                raise RuntimeError("out of memory")
            return inner(found)

    monkeypatch.setattr(backend._passes, "_steps", fail_for_one)
    with held_up(backend) as held:
        answers: list[Future[Any]] = [held.come(backend.next_distribution, step) for step in steps]
    answers[0].result(WAIT_S)
    answers[2].result(WAIT_S)
    with pytest.raises(RuntimeError, match="out of memory"):
        answers[1].result(WAIT_S)
    monkeypatch.undo()
    for step in steps:
        assert_right("llama", backend, step)


def test_a_model_of_another_kind_fails_when_it_is_tried_out() -> None:
    model = tiny.MODELS["mamba"]()
    llama = tiny.MODELS["llama"]()
    with torch.inference_mode():
        assert not Together(model).try_out(caches(llama, TEXTS[:2]), [3, 4])
