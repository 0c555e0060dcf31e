"""Many continuations in one forward pass: as right as one by one, and no pass too many."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import local, passes
from explorer.backends.branches import can_branch, common_root
from explorer.backends.local import LocalBackend
from explorer.backends.logit_rows import top_continuations
from explorer.decoding import Distribution
from tests.backends import tiny
from tests.backends.branching import BRANCHING, Prefix, assert_all_right, root_of, siblings
from tests.backends.reusing import forwarded, start_of


@pytest.fixture(params=BRANCHING)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backend(name: str) -> LocalBackend:
    return tiny.backend(name)


# whether it is right


TOKENS = st.sampled_from([3, 4, 5, 350])  # few, so that paths meet again
GROWTH = st.tuples(st.integers(0, 30), st.integers(0, 6), st.lists(TOKENS, max_size=4))


def grown(start: Prefix, growth: list[tuple[int, int, list[int]]], limit: int) -> list[Prefix]:
    """Each prefix is an earlier one, cut back by some tokens and continued by some."""
    prefixes = [start]
    for parent, cut, more in growth:
        line = prefixes[parent % len(prefixes)]
        prefixes.append((*line[: max(1, len(line) - cut)], *more)[:limit])
    return prefixes


@settings(max_examples=20, deadline=None)
@given(
    length=st.integers(1, 20),
    growth=st.lists(GROWTH, max_size=8),
    calls=st.lists(
        st.tuples(
            st.sampled_from(["distributions", "continuations", "distribution", "score"]),
            st.lists(st.integers(0, 30), min_size=1, max_size=8),
            st.sampled_from([1, 5, 384, 1000]),
        ),
        min_size=1,
        max_size=6,
    ),
    budget=st.sampled_from([1, 30_000, 120_000, tiny.BUDGET]),
)
def test_any_calls_over_a_tree_give_what_full_passes_give(
    length: int,
    growth: list[tuple[int, int, list[int]]],
    calls: list[tuple[str, list[int], int]],
    budget: int,
) -> None:
    for name in BRANCHING:
        backend = tiny.backend(name, budget)
        prefixes = grown(start_of(name)[:length], growth, backend.info.context_length)
        for kind, places, count in calls:
            asked = [prefixes[place % len(prefixes)] for place in places]
            if kind == "distribution":
                backend.next_distribution(asked[0])
            elif kind == "score":
                backend.score(asked[0])
            else:
                assert_all_right(name, backend, asked, count if kind == "continuations" else None)
        assert backend._memory.used_bytes <= budget


@pytest.mark.parametrize("count", [None, 7])
def test_siblings_cousins_and_ancestors_that_are_missing(
    name: str, backend: LocalBackend, count: int | None
) -> None:
    root = root_of(name)
    asked = [*siblings(root, 3), (*root, 60, 61, 62), (*root, 60, 63), (*root, 50, 51), root]
    assert_all_right(name, backend, asked, count)
    assert_all_right(name, backend, list(reversed(asked)), count)


@pytest.mark.parametrize("chosen", ["mamba", "hybrid"])
def test_a_model_that_can_not_branch_is_right_one_by_one(chosen: str) -> None:
    backend = tiny.backend(chosen)
    assert not can_branch(backend.model)
    asked = siblings(start_of(chosen)[:12], 3)
    with forwarded(backend) as counts:
        assert_all_right(chosen, backend, asked)
        assert_all_right(chosen, backend, [*asked, (*asked[0], 9)], 5)
    assert counts == [13, 13, 13, 14]


def test_the_models_here_can_branch(backend: LocalBackend) -> None:
    assert can_branch(backend.model)


def test_an_attention_that_takes_no_mask_of_ours_is_not_branched() -> None:
    model = copy.deepcopy(tiny.llama())
    model.config._attn_implementation = "flash_attention_2"
    assert not can_branch(model)


def test_the_order_and_repeats_of_the_call_are_kept(backend: LocalBackend, name: str) -> None:
    one, other = siblings(root_of(name), 2)
    first, second, third = backend.next_distributions([other, one, other])
    assert first is third
    assert first is backend.next_distribution(other)
    assert second is backend.next_distribution(one)


def test_no_prefix_gives_nothing_and_runs_nothing(backend: LocalBackend) -> None:
    with forwarded(backend) as counts:
        assert backend.next_distributions([]) == ()
        assert backend.continuations([], 5) == ()
    assert counts == []


def test_more_continuations_than_tokens(name: str, backend: LocalBackend) -> None:
    asked = siblings(root_of(name), 2)
    for found in backend.continuations(asked, tiny.VOCAB_SIZE + 5):
        assert sorted(found.token_ids) == list(range(tiny.VOCAB_SIZE))
    assert_all_right(name, backend, asked, 10**9)


# how much is forwarded


def test_siblings_of_a_known_prefix_are_one_pass(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, siblings(root, 20), 5)
    assert counts == [20]


def test_siblings_of_an_unknown_prefix_are_two_passes(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, siblings(root, 20))
    assert counts == [len(root), 20]


def test_visited_prefixes_forward_nothing(name: str, backend: LocalBackend) -> None:
    asked = siblings(root_of(name), 5)
    backend.next_distributions(asked)
    with forwarded(backend) as counts:
        backend.next_distributions(asked[::-1])
        backend.continuations(asked, 12)
        for prefix in asked:
            backend.next_distribution(prefix)
    assert counts == []


def test_fewer_continuations_are_known_and_more_are_not(name: str, backend: LocalBackend) -> None:
    asked = siblings(root_of(name), 3)
    backend.continuations(asked, 6)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, asked, 6)
        assert_all_right(name, backend, asked, 2)
        assert counts == []
        assert_all_right(name, backend, asked, 7)
    assert counts == [3]


def test_only_what_is_not_known_is_forwarded(name: str, backend: LocalBackend) -> None:
    asked = siblings(root_of(name), 6)
    backend.next_distributions(asked[:4])
    with forwarded(backend) as counts:
        assert_all_right(name, backend, asked)
    assert counts == [2]


def test_missing_ancestors_come_in_the_same_pass(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    asked = [(*root, 60, 61, 62), (*root, 60, 63), (*root, 64)]
    with forwarded(backend) as counts:
        assert_all_right(name, backend, asked)
    assert counts == [5]  # 60, 61, 62, 63 and 64
    with forwarded(backend) as counts:
        assert_all_right(name, backend, [(*root, 60, 61, 65), (*root, 64, 66)])
    assert counts == [2]


def test_a_tree_grows_by_one_pass_a_level(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    level = siblings(root, 8)
    with forwarded(backend) as counts:
        for depth in range(4):
            assert_all_right(name, backend, level, 16)
            level = [(*prefix, 100 + depth) for prefix in level]
    assert counts == [8, 8, 8, 8]


def test_what_the_tree_holds_is_not_forwarded_for_an_ancestor_again(
    name: str, backend: LocalBackend
) -> None:
    """Asked for two nodes below, the root they share is deeper than the tree's own."""
    root = root_of(name)
    backend.next_distributions(siblings(root, 2))
    with forwarded(backend) as counts:
        assert_all_right(name, backend, [(*root, 50, 70), (*root, 50, 71)])
    assert counts == [2]


def test_more_than_one_pass_holds(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, siblings(root, local.BRANCHES + 3), 4)
    assert counts == [local.BRANCHES, 3]


def test_prefixes_with_nothing_in_common_are_passes_of_their_own(
    name: str, backend: LocalBackend
) -> None:
    asked = [(first, *root_of(name)[1:9]) for first in (50, 51, 52)]
    with forwarded(backend) as counts:
        assert_all_right(name, backend, asked)
    assert counts == [9, 9, 9]


def test_one_prefix_is_a_pass_over_what_is_new_of_it(name: str, backend: LocalBackend) -> None:
    root = root_of(name)
    backend.next_distribution(root)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, [(*root, 50)], 5)
        assert_all_right(name, backend, [(*root, 50, 51)])
    assert counts == [1, 1]


def test_a_full_tree_gives_way_to_a_new_one(
    name: str, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "MAX_SLOTS", 6)
    root = root_of(name)
    backend.next_distribution(root)
    with forwarded(backend) as counts:
        assert_all_right(name, backend, siblings(root, 4))
        assert_all_right(name, backend, siblings(root, 6)[4:])
        assert_all_right(name, backend, siblings(root, 11)[6:])
    assert counts == [4, 2, 5]
    (tree,) = (one for key, one in backend._memory._store.items() if key[0] == "branches")
    assert len(tree) == 5


def test_too_much_for_one_pass_is_done_one_by_one(
    backend: LocalBackend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "PREFILL_CHUNK", 5)
    asked = [(*root_of(name)[:8], first, 3, 4) for first in (50, 51)]
    with forwarded(backend) as counts:
        assert_all_right(name, backend, asked)
    assert max(counts) <= 5


# the parts


def tied(number: int, best: bool) -> LocalBackend:
    """The tiny Llama with `number` tokens from 100 on that always have the same logit."""
    backend = tiny.backend("llama")
    backend._passes.model = copy.deepcopy(backend.model)
    with torch.no_grad():
        weight = backend.model.lm_head.weight
        weight[100 : 100 + number] = weight[100]
        if best:  # all tokens tie
            weight[:] = 0
    return backend


@pytest.mark.parametrize("count", [1, 5, 384])
def test_all_equal_tokens_come_in_the_order_of_their_ids(count: int) -> None:
    for found in tied(0, best=True).continuations(siblings((3, 4), 2), count):
        assert found.token_ids == tuple(range(count))
        assert found.logprobs == pytest.approx([-math.log(384)] * count)


def test_ties_in_a_tree_are_broken_by_the_lower_id() -> None:
    backend, other = tied(100, best=False), tied(100, best=False)
    asked = siblings((3, 4), 3)
    distributions = backend.next_distributions(asked)
    for found, distribution in zip(other.continuations(asked, 384), distributions, strict=True):
        assert found.token_ids == tuple(distribution.token_ids.tolist())
        among = [token_id for token_id in found.token_ids if 100 <= token_id < 200]
        assert among == list(range(100, 200))


PREFIXES = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=6
)


@given(prefixes=PREFIXES, beginning=st.lists(st.integers(0, 2), max_size=4).map(tuple))
def test_the_common_root_is_the_longest_that_leaves_each_a_token(
    prefixes: list[Prefix], beginning: Prefix
) -> None:
    prefixes = [beginning + prefix for prefix in prefixes]
    fits = [
        prefixes[0][:end]
        for end in range(len(prefixes[0]))
        if all(len(one) > end and one[:end] == prefixes[0][:end] for one in prefixes)
    ]
    assert common_root(prefixes) == fits[-1]


LOGITS = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-80, 80, width=32), st.just(-math.inf)),
    min_size=1,
    max_size=40,
).filter(lambda logits: max(logits) > -math.inf)


@given(logits=LOGITS, data=st.data())
def test_top_continuations_are_the_first_of_a_full_sort(
    logits: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(logits)))
    found = top_continuations(np.array(logits, np.float32), count)
    order = sorted(range(len(logits)), key=lambda token_id: (-logits[token_id], token_id))[:count]
    assert found.token_ids == tuple(order)
    most = max(logits)
    total = most + math.log(math.fsum(math.exp(logit - most) for logit in logits))
    np.testing.assert_allclose(found.logprobs, [logits[i] - total for i in order], atol=1e-9)
    whole = Distribution.from_logits(np.array(logits, np.float32))
    assert tuple(whole.token_ids[:count].tolist()) == found.token_ids
