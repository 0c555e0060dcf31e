"""What is remembered of trees of continuations: lost, broken, refused or shared by threads."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from explorer.backends.base import ContextTooLong, NothingToPredict, TokenOutOfRange
from explorer.backends.kv_cache import cache_bytes
from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory
from tests.backends import tiny
from tests.backends.branching import (
    BRANCHING,
    Prefix,
    assert_all_right,
    plain,
    root_of,
    siblings,
)
from tests.backends.reusing import by_token_id, forwarded, in_threads


@pytest.fixture(params=BRANCHING)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backend(name: str) -> LocalBackend:
    return tiny.backend(name)


# what is remembered


def test_logits_that_were_forgotten_are_computed_again_in_the_tree(
    name: str, backend: LocalBackend
) -> None:
    root = root_of(name)
    asked = [*siblings(root, 3), (*root, 50, 60)]
    before = backend.next_distributions(asked)
    for prefix in asked:
        backend._memory.forget("distribution", name, prefix)
    with forwarded(backend) as counts:
        again = backend.next_distributions(asked)
    assert counts == [4]
    for one, other in zip(before, again, strict=True):
        np.testing.assert_allclose(by_token_id(one), by_token_id(other), atol=1e-6)
    assert_all_right(name, backend, [(*asked[0], 61), (*asked[3], 61), (*asked[1], 61)], 5)


@pytest.mark.parametrize("budget", [1, 4_000, 20_000])
def test_a_memory_too_small_for_a_tree_is_still_right(name: str, budget: int) -> None:
    backend = tiny.backend(name, budget)
    root = root_of(name)
    for count in (None, 3, 300):
        assert_all_right(name, backend, [*siblings(root, 3), (*root, 50, 60)], count)
    assert backend._memory.used_bytes <= budget


def test_a_tree_never_changes_the_cache_it_began_with(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    _, found = backend._memory.longest("cache", name, root)
    assert found is not None
    before = [(layer.keys.clone(), layer.values.clone()) for layer in found[1].layers]
    backend.next_distributions(siblings(root, 4))
    backend.next_distributions([(*prefix, 9) for prefix in siblings(root, 4)])
    for layer, (keys, values) in zip(found[1].layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)
    assert_all_right(name, backend, [(*root, 350), (*root, 351, 352)], 9)


def test_used_bytes_count_what_a_tree_holds(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    used = backend._memory.used_bytes
    backend.continuations(siblings(root, 4), 3)
    (tree,) = (one for key, one in backend._memory._store.items() if key[0] == "branches")
    tensors = [tensor for layer in tree.cache.layers for tensor in (layer.keys, layer.values)]
    held = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert cache_bytes(tree.cache) == held
    assert backend._memory.used_bytes - used >= held


# what fails


@contextmanager
def failing_once(backend: LocalBackend) -> Iterator[None]:
    """The last layer raises: by then the layers before it have taken in the new tokens."""
    layers = getattr(backend.model, "transformer", None) or backend.model.model
    last = (getattr(layers, "h", None) or layers.layers)[-1]

    def fail(*_: Any) -> None:
        handle.remove()
        raise RuntimeError("out of memory")

    handle = last.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        yield
    handle.remove()


@pytest.mark.parametrize("known", ["nothing", "root", "tree"])
def test_a_pass_that_fails_leaves_nothing_broken(
    name: str, backend: LocalBackend, known: str
) -> None:
    root = root_of(name)
    asked = [*siblings(root, 3), (*root, 50, 60)]
    if known == "root":
        backend.next_distribution(root)
    elif known == "tree":
        backend.continuations(siblings(root, 2), 4)
    with failing_once(backend):
        backend.continuations(asked, 9)
    assert_all_right(name, backend, asked, 9)
    assert_all_right(name, backend, [(*prefix, 70) for prefix in asked])


def test_a_failure_leaves_the_trees_of_other_prefixes(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    short = root[:5]
    backend.continuations(siblings(short, 3), 4)
    backend.next_distribution(root)
    with failing_once(backend):
        backend.continuations(siblings(root, 3), 4)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, [(*prefix, 9) for prefix in siblings(short, 3)], 4)
    assert counts == [3]


def test_bad_prefixes_are_refused_as_for_one(backend: LocalBackend) -> None:
    size, limit = backend.info.vocab_size, backend.info.context_length
    bad: list[tuple[Prefix, type[Exception]]] = [
        ((), NothingToPredict),
        ((3,) * (limit + 1), ContextTooLong),
        ((3, size), TokenOutOfRange),
        ((3, -1), TokenOutOfRange),
    ]
    for prefix, error in bad:
        with pytest.raises(error) as one:
            backend.next_distribution(prefix)
        for asked in ([prefix], [(3, 4), prefix], [prefix, (3, 4)]):
            with forwarded(backend) as counts:
                with pytest.raises(error) as several:
                    backend.next_distributions(asked)
                with pytest.raises(error) as continued:
                    backend.continuations(asked, 5)
            assert counts == []  # refused before anything is run
            assert str(several.value) == str(continued.value) == str(one.value)


# many at once


@pytest.mark.parametrize("budget", [60_000, tiny.BUDGET])
def test_threads_that_share_trees_are_all_right(name: str, budget: int) -> None:
    backend = tiny.backend(name, budget)
    root = root_of(name)
    source = random.Random(3)
    asked = [
        (*root[: source.randrange(6, len(root))], *source.choices([3, 4, 350], k=3))
        for _ in range(24)
    ]
    for prefix in asked:
        plain(name, prefix)

    def ask(number: int) -> None:
        mine = random.Random(number)
        for turn in range(6):
            some = mine.sample(asked, 6)
            assert_all_right(name, backend, some, None if turn % 2 else 5)
            backend.next_distribution(some[0])

    in_threads(4, ask)
    assert backend._memory.used_bytes <= budget


def test_two_that_ask_the_same_cost_one_pass(name: str, backend: LocalBackend) -> None:
    asked = siblings(root_of(name), 6)
    with forwarded(backend) as counts:
        answers = in_threads(4, lambda _: backend.continuations(asked, 5))
    assert counts == [len(root_of(name)), 6]
    assert all(answer == answers[0] for answer in answers)


def test_a_memory_that_holds_a_thing_of_unknown_size_says_so() -> None:
    with pytest.raises(TypeError, match="can't tell the size of a dict"):
        PrefixMemory(10).put("branches", "m", (1,), {})
