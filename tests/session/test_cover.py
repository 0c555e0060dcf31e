"""The fewest continuations that hold a share, against all continuations there are."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend, ContextTooLong, Continuations
from explorer.decoding import Distribution, TopP, decode
from explorer.session import Cover, run, tail
from explorer.session.cover import AT_ONCE
from tests.backends import tiny
from tests.backends.reusing import forwarded
from tests.session.test_beam import PROMPT, every_sequence, varied


def searched(backend: Backend, search: Cover) -> Cover:
    for state in run(search, backend):
        search = state  # type: ignore[assignment]
    return search


def every_node(backend: Backend, depth: int) -> dict[tuple[int, ...], float]:
    """Whatever may come, and how probable it is."""
    found = {}
    for length in range(1, depth + 1):
        found |= every_sequence(backend, length)  # shorter ones ended
    return {token_ids: math.exp(total) for token_ids, total in found.items()}


def tokens_of(search: Cover) -> list[tuple[int, ...]]:
    return [tail(search.nodes, place) for place in range(len(search.nodes))]


def assert_tree(search: Cover, backend: Backend) -> None:
    """Parents stand before children, most probable first, and each total is its path's sum."""
    tokens = tokens_of(search)
    assert len(set(tokens)) == len(tokens)
    totals = [node.total for node in search.nodes]
    assert totals == sorted(totals, reverse=True)
    every = every_node(backend, search.depth)
    for node, token_ids in zip(search.nodes, tokens, strict=True):
        assert math.exp(node.total) == pytest.approx(every[token_ids])
        assert node.depth == len(token_ids)
        assert node.ends == (token_ids[-1] in backend.info.end_token_ids)
        assert node.parent == (tokens.index(token_ids[:-1]) if node.depth > 1 else -1)
    leaves = [place for place, node in enumerate(search.nodes) if search.depth == node.depth]
    leaves += [place for place, node in enumerate(search.nodes) if node.ends]
    assert set(search.leaves) == set(leaves)


# against all continuations


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(2, 5), (3, 3), (4, 2), (5, 1), (4, 3)]),
    ends=st.sampled_from([(), (1,), (0, 1)]),
    share=st.floats(0.01, 0.999),
    zeros=st.sampled_from([0.0, 0.4]),
)
def test_the_leaves_are_the_fewest_that_hold_the_share(
    seed: int, shape: tuple[int, int], ends: tuple[int, ...], share: float, zeros: float
) -> None:
    size, depth = shape
    backend = varied(seed, size, depth, zeros=zeros, ends=ends)
    every = sorted(map(math.exp, every_sequence(backend, depth).values()), reverse=True)
    mass = np.cumsum(every)
    assume(np.abs(mass - share).min() > 1e-9)  # where rounding would decide
    fewest = int(np.searchsorted(mass, share)) + 1

    search = searched(backend, Cover(PROMPT, share, depth, 1000))
    assert search.ending == "covered"
    paths = search.paths()
    assert [math.exp(path.total) for path in paths] == pytest.approx(every[:fewest])
    assert search.covered == pytest.approx(mass[fewest - 1])
    assert [path.place for path in paths] == list(search.leaves)
    assert_tree(search, backend)
    # Nothing is in the tree that is less probable than the last leaf.
    least = every[fewest - 1]
    nodes = every_node(backend, depth)
    assert set(tokens_of(search)) <= {ids for ids, p in nodes.items() if p >= least - 1e-12}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    most=st.integers(1, 40),
    ends=st.sampled_from([(), (2,)]),
)
def test_at_the_limit_the_nodes_are_the_most_probable_there_are(
    seed: int, most: int, ends: tuple[int, ...]
) -> None:
    backend = varied(seed, 4, 3, ends=ends)
    search = searched(backend, Cover(PROMPT, 0.999, 3, most))
    nodes = sorted(every_node(backend, 3).values(), reverse=True)
    assert search.ending in ("node_limit", "covered")
    assert len(search.nodes) == most or search.ending == "covered"
    found = [math.exp(node.total) for node in search.nodes]
    assert found == pytest.approx(nodes[: len(found)])
    assert (search.covered >= 0.999) == (search.ending == "covered")
    assert_tree(search, backend)


def nucleus(distribution: Distribution, share: float) -> list[int]:
    return decode(distribution, (TopP(share),)).final.token_ids.tolist()


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.integers(1, 30), min_size=2, max_size=12),
    share=st.floats(0.01, 0.999),
)
def test_one_token_deep_it_is_the_nucleus(weights: list[int], share: float) -> None:
    backend = ScriptedBackend([b"%d" % i for i in range(len(weights))], {PROMPT: weights})
    distribution = backend.next_distribution(PROMPT)
    assume(np.abs(distribution.probabilities.cumsum() - share).min() > 1e-9)
    search = searched(backend, Cover(PROMPT, share, 1))
    assert [path.token_ids[0] for path in search.paths()] == nucleus(distribution, share)
    assert len(search.nodes) == len(search.leaves)  # ties by lower id, as there


@pytest.mark.parametrize("share", [0.2, 0.7, 0.95, 0.999])
def test_one_token_deep_it_is_the_nucleus_of_a_model(share: float) -> None:
    backend = tiny.backend("llama")
    expected = nucleus(tiny.backend("llama").next_distribution((0, 5, 9)), share)
    search = searched(backend, Cover((0, 5, 9), share, 1, 384))
    assert [path.token_ids[0] for path in search.paths()] == expected


def test_a_model_covers_as_full_passes_say() -> None:
    backend, stepping = tiny.backend("llama"), tiny.backend("llama")
    search = searched(backend, Cover((0, 5, 9), 0.1, 2, 1000))
    assert search.ending == "covered"
    for path in search.paths():
        total = 0.0
        for end, token_id in enumerate(path.token_ids):
            before = stepping.next_distribution((0, 5, 9, *path.token_ids[:end]))
            total += math.log(before.probabilities[before.positions[token_id]])
        assert path.total == pytest.approx(total, abs=1e-4)


# how it goes on


class Asked(ScriptedBackend):
    """Keeps what it was asked."""

    calls: list[tuple[int, int]]  # prefixes, count

    def continuations(
        self, prefixes: Sequence[tuple[int, ...]], count: int
    ) -> tuple[Continuations, ...]:
        assert len(set(prefixes)) == len(prefixes)
        self.calls.append((len(prefixes), count))
        return super().continuations(prefixes, count)


def asked(seed: int, size: int, depth: int) -> Asked:
    scripted = varied(seed, size, depth)
    backend = Asked([b"%d" % i for i in range(size)], scripted._script)
    backend.calls = []
    return backend


@pytest.mark.parametrize("seed", range(4))
def test_each_state_asks_once_and_for_no_more_than_a_few_prefixes(seed: int) -> None:
    backend = asked(seed, 4, 4)
    search = Cover(PROMPT, 0.9, 4, 150)
    states = list(run(search, backend))
    assert len(backend.calls) == len(states)
    assert backend.calls[0] == (1, 150)
    assert all(1 <= prefixes <= AT_ONCE for prefixes, _ in backend.calls)
    # Asking ahead saves questions: there are more inner nodes than states.
    inner = [node for node in states[-1].nodes if node.depth < 4]  # type: ignore[attr-defined]
    assert len(states) < len(inner)
    covered = [state.covered for state in states]  # type: ignore[attr-defined]
    assert covered == sorted(covered)


def test_asking_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Cover(PROMPT, 0.9, 4, 150)
    ahead = searched(asked(3, 4, 4), search)
    monkeypatch.setattr("explorer.session.cover.AT_ONCE", 1)
    assert searched(asked(3, 4, 4), search) == ahead


def test_a_search_that_is_done_stays_as_it_is() -> None:
    backend = asked(1, 3, 2)
    search = searched(backend, Cover(PROMPT, 0.5, 2))
    before = len(backend.calls)
    assert search.advance(backend) is search
    assert list(run(search, backend)) == []
    assert len(backend.calls) == before


def test_a_search_that_has_not_begun_has_found_nothing() -> None:
    search = Cover(PROMPT)
    assert (search.done, search.paths(), search.covered, search.nodes) == (False, (), 0.0, ())


def test_an_end_token_is_a_leaf_at_any_depth() -> None:
    script = {(0,): [0.4, 0.6], (0, 0): [0.1, 0.9]}
    backend = ScriptedBackend([b"a", b"."], script, end_token_ids=(1,))
    search = searched(backend, Cover(PROMPT, 0.9, 3))
    assert [path.token_ids for path in search.paths()] == [(1,), (0, 1)]
    assert search.covered == pytest.approx(0.96)


def test_what_is_not_possible_never_comes() -> None:
    backend = ScriptedBackend([b"a", b"b"], {(0,): [1.0, 0.0], (0, 0): [0.0, 1.0]})
    search = searched(backend, Cover(PROMPT, 0.999, 2))
    assert tokens_of(search) == [(0,), (0, 1)]
    assert (search.ending, search.covered) == ("covered", 1.0)


def test_a_server_that_tells_only_its_best_is_exhausted() -> None:
    class Partial(ScriptedBackend):
        def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
            return Distribution(np.array([2, 0]), np.log([0.6, 0.2]), 0.8, self.info.vocab_size)

    search = searched(Partial([b"a", b"b", b"c"]), Cover(PROMPT, 0.9, 2))
    assert search.ending == "exhausted"
    assert [path.token_ids for path in search.paths()] == [(2, 2), (2, 0), (0, 2), (0, 0)]
    assert search.covered == pytest.approx(0.64)


def test_it_goes_no_deeper_than_the_context() -> None:
    backend = varied(2, 2, 4, context_length=3)
    search = searched(backend, Cover(PROMPT, 0.9, 50))
    shallow = searched(backend, Cover(PROMPT, 0.9, 2))
    assert {len(path.token_ids) for path in search.paths()} == {2}
    assert search.nodes == shallow.nodes and search.leaves == shallow.leaves


def test_a_full_context_is_refused() -> None:
    with pytest.raises(ContextTooLong):
        Cover((0, 1, 1)).advance(varied(2, 2, 4, context_length=3))


def test_a_model_is_asked_about_many_prefixes_in_one_pass() -> None:
    backend = tiny.backend("llama")
    backend.next_distribution((0, 5, 9))
    with forwarded(backend) as counts:
        states = list(run(Cover((0, 5, 9), 0.1, 2, 1000), backend))
    assert len(counts) <= len(states)
    assert max(counts) <= AT_ONCE
    with forwarded(backend) as counts:
        searched(backend, Cover((0, 5, 9), 0.1, 2, 1000))
    assert counts == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 0.009}, "share must be a number from 0.01 to 0.999, got 0.009"),
        ({"share": 1.0}, "share"),
        ({"share": math.nan}, "share"),
        ({"share": "0.5"}, "share"),
        ({"depth": 0}, "depth must be a whole number from 1 to 50, got 0"),
        ({"depth": 51}, "depth"),
        ({"depth": 2.0}, "depth"),
        ({"most_nodes": 0}, "most_nodes must be a whole number from 1 to 1000, got 0"),
        ({"most_nodes": 1001}, "most_nodes"),
        ({"most_nodes": True}, "most_nodes"),
    ],
)
def test_parameters_out_of_range_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cover(PROMPT, **fields)


def test_the_brute_force_itself_finds_all() -> None:
    backend = varied(5, 3, 2, ends=(1,))
    assert set(every_node(backend, 2)) == {
        *((one,) for one in range(3)),
        *(pair for pair in itertools.product(range(3), repeat=2) if pair[0] != 1),
    }
    assert math.fsum(map(math.exp, every_sequence(backend, 2).values())) == pytest.approx(1)
