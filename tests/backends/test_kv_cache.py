"""Caches that share their memory while they grow show what `torch.cat` would have made of each."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedConfig

from explorer.backends.kv_cache import SPARE, cache_bytes, fork, new_cache
from explorer.backends.local import LocalBackend
from tests.backends import tiny
from tests.backends.reusing import FULL_PASSES, LONG, REUSING, SHORT, random_moves, walk

HEADS, SIZE = 2, 3
Kept = tuple[torch.Tensor, torch.Tensor]  # keys and values of one layer


def empty() -> Kept:
    return torch.empty(1, HEADS, 0, SIZE), torch.empty(1, HEADS, 0, SIZE)


def append(cache: Any, kept: list[Kept], count: int, mark: int) -> list[Kept]:
    """What the layers would keep if they grew by `torch.cat`; checks what attention is shown."""
    longer = []
    for at, (keys, values) in enumerate(kept):
        new = torch.arange(float(HEADS * count * SIZE)).view(1, HEADS, count, SIZE) / 100 + mark
        longer.append((torch.cat([keys, new + at], -2), torch.cat([values, -new - at], -2)))
        shown = cache.update(new + at, -new - at, at)
        window = getattr(cache.layers[at], "sliding_window", None)
        first = 0 if window is None else -(window - 1 + count)
        for seen, whole in zip(shown, longer[-1], strict=True):
            assert torch.equal(seen, whole[..., first:, :])
    return longer


def assert_shows(cache: Any, kept: list[Kept]) -> None:
    for layer, (keys, values) in zip(cache.layers, kept, strict=True):
        assert layer.get_seq_length() == keys.shape[-2]
        if layer.is_initialized:
            assert torch.equal(layer.keys, keys)
            assert torch.equal(layer.values, values)


MOVES = st.tuples(
    st.sampled_from(["append", "append", "append", "go on", "cut"]),
    st.integers(0, 99),  # which cache
    st.sampled_from([1, 1, 1, 2, 7, SPARE, 3 * SPARE]),  # tokens
    st.integers(0, 99),  # where to cut
)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@settings(max_examples=60, deadline=None)
@given(moves=st.lists(MOVES, min_size=4, max_size=30))
def test_any_caches_show_what_concatenation_gives(
    name: str, moves: list[tuple[str, int, int, int]]
) -> None:
    config: PreTrainedConfig = tiny.MODELS[name]().config
    cache = new_cache(config)
    assert cache is not None
    known = [(cache, [empty() for _ in cache.layers])]
    for mark, (move, which, count, place) in enumerate(moves):
        cache, kept = known[which % len(known)]
        held = cache.get_seq_length()
        if move == "append":
            known[which % len(known)] = cache, append(cache, kept, count, mark)
        elif held:
            length = held if move == "go on" else 1 + place % held
            cut = [(keys[..., :length, :], values[..., :length, :]) for keys, values in kept]
            forked = fork(cache, length)
            assert_shows(forked, cut)
            known.append((forked, append(forked, cut, count, mark)))
        for cache, kept in known:
            assert_shows(cache, kept)


def places(cache: Any) -> list[int]:
    return [tensor.data_ptr() for layer in cache.layers for tensor in (layer.keys, layer.values)]


@pytest.mark.parametrize("name", REUSING)
def test_whoever_comes_first_goes_on_in_place_and_the_next_copies(name: str) -> None:
    cache = new_cache(tiny.MODELS[name]().config)
    assert cache is not None
    kept = append(cache, [empty() for _ in cache.layers], 20, 1)
    first, second, cut = fork(cache, 20), fork(cache, 20), fork(cache, 19)
    append(cut, [(keys[..., :19, :], values[..., :19, :]) for keys, values in kept], 1, 2)
    append(first, kept, 1, 3)
    append(second, kept, 1, 4)
    assert places(first) == places(cache)
    assert not {*places(second), *places(cut)} & {*places(cache)}
    assert_shows(cache, kept)


def test_keys_that_were_set_from_outside_are_copied_first() -> None:
    cache = new_cache(tiny.llama().config)
    assert cache is not None
    kept = append(cache, [empty() for _ in cache.layers], 5, 1)
    for layer in cache.layers:
        layer.reorder_cache(torch.tensor([0]))
        layer.keys += 1
    append(cache, [(keys + 1, values) for keys, values in kept], 2, 2)


def memory_of(backend: LocalBackend) -> tuple[int, int]:
    """What the remembered caches say that they hold, and what they hold together."""
    caches = [value for key, value in backend._memory._store.items() if key[0] == "cache"]
    caches += [value.cache for key, value in backend._memory._store.items() if key[0] == "branches"]
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for cache in caches
        for layer in cache.layers
        for owner in (layer, layer.room)
        for tensor in (owner.keys, owner.values)
    }
    return sum(map(cache_bytes, caches)), sum(held.values())


@pytest.mark.parametrize("name", REUSING)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_counted_is_what_is_held_and_none_of_it_twice(name: str, seed: int) -> None:
    backend = tiny.backend(name)
    walk(name, backend, random_moves(seed, 40))
    backend.next_distributions([(*SHORT[:9], 50), (*SHORT[:9], 51, 52)])
    fresh = (350, *SHORT[:11])
    for longer in (fresh, (*fresh, 60, 61, 62)):  # goes on in place, by more than one token
        backend.next_distribution(longer)
    backend.score((*fresh, 60, 61, 62, 63, 64))
    said, held = memory_of(backend)
    assert said == held > 0


def test_a_short_fork_keeps_no_long_memory() -> None:
    cache = new_cache(tiny.llama().config)
    assert cache is not None
    append(cache, [empty() for _ in cache.layers], 4000, 1)
    short = fork(cache, 10)
    assert cache_bytes(short) == cache_bytes(cache)  # while it does
    kept = [(layer.keys.clone(), layer.values.clone()) for layer in short.layers]
    append(short, kept, 1, 2)
    assert cache_bytes(short) < cache_bytes(cache) // 50


# forks


def filled_cache(name: str, prefix: tuple[int, ...]) -> Any:
    model = tiny.MODELS[name]()
    cache = new_cache(model.config)
    with torch.inference_mode():
        model(input_ids=torch.tensor([prefix]), past_key_values=cache, use_cache=True)
    return cache


@pytest.mark.parametrize("name", REUSING)
@pytest.mark.parametrize("length", [1, 5, 12, 20])
def test_a_fork_shares_its_data(name: str, length: int) -> None:
    origin = filled_cache(name, SHORT)
    forked = fork(origin, length)
    assert forked.get_seq_length() == length
    for layer, of_origin in zip(forked.layers, origin.layers, strict=True):
        assert layer.keys.data_ptr() == of_origin.keys.data_ptr()
        assert layer.values.data_ptr() == of_origin.values.data_ptr()


@pytest.mark.parametrize("name", REUSING)
@pytest.mark.parametrize("length", [1, 5, 12, 20])
def test_a_fork_never_changes_its_origin(name: str, length: int) -> None:
    origin = filled_cache(name, SHORT)
    before = [(layer.keys.clone(), layer.values.clone()) for layer in origin.layers]
    forked = fork(origin, length)
    with torch.inference_mode():
        tiny.MODELS[name]()(
            input_ids=torch.tensor([[50, 51]]), past_key_values=forked, use_cache=True
        )
    assert forked.get_seq_length() == length + 2
    assert origin.get_seq_length() == len(SHORT)
    for layer, (keys, values) in zip(origin.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_a_cache_holds_every_token_also_past_the_window() -> None:
    origin = filled_cache("gemma3", LONG)
    assert [layer.keys.shape[-2] for layer in origin.layers] == [len(LONG)] * 3
    assert 0 <= cache_bytes(origin) - 3 * 2 * len(LONG) * 8 * 4 <= 3 * 2 * SPARE * 8 * 4


@pytest.mark.parametrize("name", FULL_PASSES)
def test_a_recurrent_model_has_no_cache_to_fork(name: str) -> None:
    backend = tiny.backend(name)
    backend.next_distribution(SHORT)
    assert backend._memory.longest("cache", name, SHORT) == (0, None)
