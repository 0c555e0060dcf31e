"""Beam search against all sequences there are, and against transformers' generate."""

import itertools
import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend, ContextTooLong
from explorer.backends.local import LocalBackend
from explorer.decoding import Greedy
from explorer.session import BeamSearch, Path, continue_text, run, tail
from tests.backends import tiny
from tests.generating import generated

PROMPT = (0,)
Sequences = dict[tuple[int, ...], float]  # their totals


def varied(
    seed: int, size: int, depth: int, *, zeros: float = 0.0, ends: tuple[int, ...] = (), **more: Any
) -> ScriptedBackend:
    """Other probabilities after each prefix, some of them 0."""
    source = np.random.default_rng(seed)
    script = {}
    for length in range(depth + 1):
        for prefix in itertools.product(range(size), repeat=length):
            probabilities = source.dirichlet([0.7] * size)
            kept = source.random(size) >= zeros
            kept[source.integers(size)] = True
            script[PROMPT + prefix] = probabilities * kept
    return ScriptedBackend([b"%d" % i for i in range(size)], script, end_token_ids=ends, **more)


def every_sequence(backend: Backend, depth: int, prefix: tuple[int, ...] = PROMPT) -> Sequences:
    """All that may follow: of `depth` tokens, or ended before."""
    if depth == 0:
        return {(): 0.0}
    found = {}
    probabilities = backend.next_distribution(prefix)
    for token_id, probability in zip(
        probabilities.token_ids.tolist(), probabilities.probabilities.tolist(), strict=True
    ):
        if probability > 0:
            ended = token_id in backend.info.end_token_ids
            rest = {(): 0.0} if ended else every_sequence(backend, depth - 1, (*prefix, token_id))
            for after, total in rest.items():
                found[(token_id, *after)] = math.log(probability) + total
    return found


def searched(backend: Backend, search: BeamSearch) -> BeamSearch:
    for state in run(search, backend):
        search = state
    return search


def assert_paths(paths: tuple[Path, ...], expected: list[tuple[tuple[int, ...], float]]) -> None:
    """These sequences with these scores, best first."""
    assert [path.token_ids for path in paths] == [token_ids for token_ids, _ in expected]
    assert [path.score for path in paths] == pytest.approx([score for _, score in expected])
    assert all(path.finished for path in paths)


def assert_tree(search: BeamSearch, backend: Backend) -> None:
    """Each node holds what the model says of its token after its parents."""
    assert len({tail(search.nodes, place) for place in range(len(search.nodes))}) == len(
        search.nodes
    )
    for place, node in enumerate(search.nodes):
        before = tail(search.nodes, node.parent)
        assert node.parent < place
        distribution = backend.next_distribution(search.prefix + before)
        probability = distribution.probabilities[distribution.positions[node.token_id]]
        above = search.nodes[node.parent].total if node.parent >= 0 else 0.0
        assert node.logprob == pytest.approx(math.log(probability), abs=1e-4)
        assert node.total == pytest.approx(above + node.logprob)
        assert node.depth == len(before) + 1
        assert node.ends == (node.token_id in backend.info.end_token_ids)


# against all sequences


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(2, 4), (2, 3), (3, 2), (4, 2), (4, 1)]),
    ends=st.sampled_from([(), (1,), (0, 1)]),
    penalty=st.sampled_from([-5.0, -0.5, 0.0, 1.0, 2.5, 5.0]),
    zeros=st.sampled_from([0.0, 0.4]),
)
def test_a_beam_as_wide_as_all_sequences_finds_them_all_in_order(
    seed: int, shape: tuple[int, int], ends: tuple[int, ...], penalty: float, zeros: float
) -> None:
    size, depth = shape
    backend = varied(seed, size, depth, zeros=zeros, ends=ends)
    sequences = every_sequence(backend, depth)
    scored = [(ids, total / len(ids) ** penalty) for ids, total in sequences.items()]
    scored.sort(key=lambda one: -one[1])
    search = searched(backend, BeamSearch(PROMPT, 16, depth, penalty))
    assert_paths(search.paths(), scored)
    for path in search.paths():
        assert path.total == pytest.approx(sequences[path.token_ids])
    assert_tree(search, backend)


@pytest.mark.parametrize("ends", [(), (2,)])
@pytest.mark.parametrize("seed", range(8))
def test_a_beam_of_one_is_the_greedy_path(seed: int, ends: tuple[int, ...]) -> None:
    backend = varied(seed, 3, 5, ends=ends)
    greedy = [one.token_id for one in continue_text(backend, PROMPT, (Greedy(),), 0, 5)]
    (path,) = searched(backend, BeamSearch(PROMPT, 1, 5)).paths()
    assert list(path.token_ids) == greedy


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 4), ends=st.sampled_from([(), (2,)]))
def test_every_level_holds_the_best_that_its_parents_allow(
    seed: int, width: int, ends: tuple[int, ...]
) -> None:
    backend = varied(seed, 3, 4, ends=ends)
    search = BeamSearch(PROMPT, width, 4, 0.0)
    alive: Sequences = {(): 0.0}
    while not search.done:
        search = search.advance(backend)
        level = {
            (*ids, *more): total + logprob
            for ids, total in alive.items()
            for more, logprob in every_sequence(backend, 1, PROMPT + ids).items()
        }
        ranked = sorted(level, key=lambda ids: -level[ids])
        alive = {ids: level[ids] for ids in ranked if ids[-1] not in ends}
        alive = dict(itertools.islice(alive.items(), width))
        if search.length < 4:
            running = [tail(search.nodes, place) for place in search.running]
            assert running == list(alive)
        done = {path.token_ids for path in search.paths() if path.finished}
        last = ranked[:width]
        ended_now = {ids for ids in last if ids[-1] in ends or search.length == 4}
        assert {ids for ids in done if len(ids) == search.length} <= ended_now


# how it goes on


def test_the_states_of_a_search_by_hand() -> None:
    """End tokens are put aside; what runs is shown too, with the score that it has by now."""
    script = {(0,): [0.5, 0.3, 0.2], (0, 0): [0.9, 0.07, 0.03], (0, 1): [0.1, 0.8, 0.1]}
    backend = ScriptedBackend([b"a", b"b", b"."], script, end_token_ids=(2,))
    start = BeamSearch(PROMPT, 3, 3)
    assert (start.paths(), start.done) == ((), False)
    first = start.advance(backend)
    assert [(path.token_ids, path.finished) for path in first.paths()] == [
        ((0,), False),
        ((1,), False),
        ((2,), True),
    ]
    second = first.advance(backend)
    assert [(path.token_ids, path.finished) for path in second.paths()] == [
        ((0, 0), False),
        ((1, 1), False),
        ((2,), True),
        ((0, 1), False),
    ]
    assert [path.score for path in second.paths()] == pytest.approx(
        [math.log(0.45) / 2, math.log(0.24) / 2, math.log(0.2), math.log(0.035) / 2]
    )
    third = second.advance(backend)
    assert third.done and all(path.finished for path in third.paths())
    assert len(third.paths()) == 3
    assert third.advance(backend) is third
    assert first.advance(backend) == second  # a value: nothing changed it


def test_it_stops_early_when_no_beam_can_win_any_more() -> None:
    script = {(0,): [0.1, 0.9], (0, 0): [0.5, 0.5]}
    backend = ScriptedBackend([b"a", b"."], script, end_token_ids=(1,), context_length=64)
    search = BeamSearch(PROMPT, 1, 40).advance(backend)
    assert search.done
    assert_paths(search.paths(), [((1,), math.log(0.9))])


def test_it_stops_where_everything_has_ended() -> None:
    backend = ScriptedBackend([b"a", b"."], {(0,): [0.0, 1.0]}, end_token_ids=(1,))
    search = BeamSearch(PROMPT, 4, 9).advance(backend)
    assert search.done
    assert_paths(search.paths(), [((1,), 0.0)])


def test_it_goes_no_further_than_the_context() -> None:
    backend = varied(1, 2, 3, context_length=3)
    search = searched(backend, BeamSearch(PROMPT, 4, 50))
    assert {len(path.token_ids) for path in search.paths()} == {2}
    assert search == replace(searched(backend, BeamSearch(PROMPT, 4, 2)), depth=50)


def test_a_full_context_is_refused() -> None:
    with pytest.raises(ContextTooLong) as caught:
        BeamSearch((0, 1, 1), 2, 2).advance(varied(1, 2, 3, context_length=3))
    assert caught.value.facts == {"length": 4, "limit": 3}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "width must be a whole number from 1 to 16, got 0"),
        ({"width": 17}, "width must be a whole number from 1 to 16, got 17"),
        ({"width": True}, "width"),
        ({"width": 2.0}, "width"),
        ({"depth": 0}, "depth must be a whole number from 1 to 50, got 0"),
        ({"depth": 51}, "depth"),
        ({"length_penalty": 5.1}, "length_penalty must be a number from -5 to 5, got 5.1"),
        ({"length_penalty": -5.1}, "length_penalty"),
        ({"length_penalty": math.nan}, "length_penalty"),
        ({"length_penalty": "1"}, "length_penalty"),
    ],
)
def test_parameters_out_of_range_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BeamSearch(PROMPT, **{"width": 2, "depth": 2, **fields})


# against transformers


ONE, OTHER = (0, 12, 200, 31, 45), (7, 7, 7)


@cache
def often(prefix: tuple[int, ...]) -> list[int]:
    """Every third of the tokens that come up most after a prefix: beams that end early, and not."""
    beams = generated(tiny.backend("llama"), prefix, 8, 8, 1.0)
    counts = np.bincount([token_id for ids, _ in beams for token_id in ids])
    return np.argsort(-counts, kind="stable")[::3].tolist()


def ending(prefix: tuple[int, ...], ends: int) -> LocalBackend:
    """The tiny Llama, told that its text ends at `ends` tokens that come up often."""
    backend = tiny.backend("llama")
    if ends:
        backend.info = replace(backend.info, end_token_ids=tuple(sorted(often(prefix)[:ends])))
    return backend


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize(("width", "depth"), [(1, 6), (2, 12), (3, 6), (8, 8), (16, 3)])
@pytest.mark.parametrize(("prefix", "ends"), [(ONE, 0), (ONE, 2), (ONE, 8), (OTHER, 5)])
def test_it_finds_what_transformers_finds(
    prefix: tuple[int, ...], ends: int, width: int, depth: int, penalty: float
) -> None:
    backend = ending(prefix, ends)
    expected = generated(backend, prefix, width, depth, penalty)
    search = searched(backend, BeamSearch(prefix, width, depth, penalty))
    assert [path.token_ids for path in search.paths()] == [ids for ids, _ in expected]
    for path, (_, score) in zip(search.paths(), expected, strict=True):
        if score is not None:
            assert path.score == pytest.approx(score, abs=1e-4)
    assert_tree(search, backend)


def test_the_ends_chosen_here_do_end_beams_and_searches_early() -> None:
    for prefix, ends in [(ONE, 2), (ONE, 8), (OTHER, 5)]:
        lengths = {len(ids) for ids, _ in generated(ending(prefix, ends), prefix, 8, 8, 1.0)}
        assert len(lengths) > 1
    assert searched(ending(ONE, 2), BeamSearch(ONE, 2, 12, 0.0)).length == 5


def test_a_level_is_one_forward_pass() -> None:
    backend = tiny.backend("llama")
    backend.next_distribution(ONE)
    passes: list[int] = []
    hook = backend.model.register_forward_pre_hook(
        lambda _model, _args, kwargs: passes.append(kwargs["input_ids"].shape[1]),
        with_kwargs=True,
    )
    for _ in range(2):
        searched(backend, BeamSearch(ONE, 4, 6))
    hook.remove()
    assert passes == [4] * 5
