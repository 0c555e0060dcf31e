"""A look-ahead as data: its tree, its paths, and what a search says of itself."""

import json
import math
from collections.abc import Callable

import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import Greedy
from explorer.session import BeamSearch, Cover, DrawnPath, Search, run
from explorer.views.ahead import MOST_PATHS, ahead_data

START = (0,)


@pytest.fixture
def backend() -> ScriptedBackend:
    script = {(0,): [0.6, 0.4], (0, 0): [0.5, 0.5], (0, 1): [0.1, 0.9]}
    return ScriptedBackend([b"a", b"\xe3"], script, context_length=12)


def last(search: Search, backend: ScriptedBackend) -> Search:
    return list(run(search, backend))[-1]


@pytest.fixture
def data(backend: ScriptedBackend) -> Callable[[Search], dict]:
    def data(search: Search) -> dict:
        found = ahead_data(search, lambda one: f"t{one}", lambda one: backend.token(one).raw)
        json.dumps(found, allow_nan=False)
        return found

    return data


def test_the_beams_are_paths_and_all_that_was_a_beam_is_in_the_tree(backend, data) -> None:
    found = data(last(BeamSearch(START, 2, 2), backend))
    best = found["paths"][0]
    assert (best["token_ids"], best["text"], best["tokens"]) == ([1, 1], "⟨E3⟩⟨E3⟩", 2)
    assert best["probability"] == pytest.approx(0.36)
    assert best["sum"] == pytest.approx(math.log(0.36))
    assert best["score"] == pytest.approx(math.log(0.36) / 2)
    assert best["finished"] and best["repetition"] is None
    assert (found["done"], found["depth"], found["running"]) == (True, 2, [])
    assert (found["covered"], found["ending"]) == (None, None)
    nodes = found["nodes"]
    assert [node["text"] for node in nodes[:2]] == ["t0", "t1"]
    for node in nodes:
        above = nodes[node["parent"]]["sum"] if node["parent"] >= 0 else 0.0
        assert node["sum"] == pytest.approx(above + math.log(node["probability"]))


def test_beams_that_still_run_are_told(backend, data) -> None:
    found = data(BeamSearch(START, 2, 3).advance(backend))
    assert found["running"] == [0, 1]
    assert [path["finished"] for path in found["paths"]] == [False, False]


def test_a_cover_says_how_much_it_holds(backend, data) -> None:
    found = data(last(Cover(START, share=0.3, depth=2), backend))
    assert found["covered"] == pytest.approx(0.36)
    assert found["ending"] == "covered"
    assert found["paths"][0]["score"] is None


def test_a_drawn_path_repeats_itself(backend, data) -> None:
    found = data(last(DrawnPath(START, (Greedy(),), 0, 1, 11), backend))
    assert found["paths"][0]["repetition"] == pytest.approx(7 / 8)
    assert found["other_paths"] == 0


def test_before_its_first_step_a_search_is_empty(data) -> None:
    found = data(BeamSearch(START, 2, 3))
    assert (found["nodes"], found["paths"], found["depth"]) == ([], [], 0)


def test_a_long_list_is_cut_and_counted(backend, data) -> None:
    search = last(Cover(START, share=0.999, depth=10, most_nodes=1000), backend)
    found = data(search)
    assert len(found["paths"]) == MOST_PATHS
    assert found["other_paths"] == len(search.paths()) - MOST_PATHS > 0
