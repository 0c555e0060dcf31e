"""The page's requests about the tree: go, name, pin, delete, compare."""

import math
from typing import Any

import pytest

from explorer.backends.base import Backend
from explorer.ui.store import SessionStore
from tests.ui.asking import END, A, Act, B, FakeModels, session_of, token_ids, view


def shown(answer: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {node["id"]: node for node in view(answer)["tree"]["nodes"]}


@pytest.fixture
def branched(begun: Act) -> Act:
    """a -> a, and a -> b -> a; standing at the last."""
    begun("pick", token_id=A)
    begun("rewind", depth=0)
    begun("pick", token_id=B)
    begun("pick", token_id=A)
    return begun


def test_all_branches_come_with_sums_of_log_probabilities(branched: Act) -> None:
    answer = branched("open", with_tree=True)
    nodes = shown(answer)
    assert [(node["id"], node["parent"], node["text"]) for node in nodes.values()] == [
        (1, 0, "a"),
        (2, 0, "␣b"),
        (3, 2, "a"),
    ]
    assert nodes[1]["probability"] == pytest.approx(0.4)
    assert nodes[2]["sum"] == pytest.approx(-1.2039728)  # ln 0.3
    assert nodes[3]["sum"] < nodes[2]["sum"]
    assert view(answer)["tree"]["path"] == [2, 3] and view(answer)["tree"]["cursor"] == 3
    assert view(branched("open"))["tree"] is None  # only when it is asked for


def test_a_tree_that_the_page_holds_does_not_travel_again(branched: Act) -> None:
    known = view(branched("open", with_tree=True))["tree"]["digest"]
    went = view(branched("go_to", node_id=1, with_tree=True, tree_known=known))["tree"]
    assert went == {"cursor": 1, "path": [1], "digest": known, "nodes": None}
    grown = view(branched("pick", token_id=A, with_tree=True, tree_known=known))["tree"]
    assert len(grown["nodes"]) == 4 and grown["digest"] != known
    # Back to the tree before: another one than the page holds by now.
    undone = view(branched("undo", with_tree=True, tree_known=grown["digest"]))["tree"]
    assert len(undone["nodes"]) == 3 and undone["digest"] == known


def test_the_score_of_all_positions_comes_when_it_is_asked_for(begun: Act) -> None:
    asked = view(begun("ask", prompt="a b b", with_score=True))
    series = asked["score"]["series"]
    assert series["texts"] == ["a", "␣b", "␣b"][: asked["length"]]
    assert series["surprisal"][0] is None
    assert series["surprisal"][1] == pytest.approx(-math.log2(0.3), abs=5e-5)
    assert len(series["entropy"]) == asked["length"]


def test_going_to_a_node_asks_no_model(
    branched: Act, models: FakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    backend = models.backends["small"]
    answer = type(backend).next_distribution

    def counting(self: Backend, prefix: tuple[int, ...]) -> Any:
        asked.append(prefix)
        return answer(self, prefix)  # type: ignore[arg-type]

    monkeypatch.setattr(type(backend), "next_distribution", counting)
    assert token_ids(branched("go_to", node_id=1)) == [A, A]
    assert token_ids(branched("go_to", node_id=0)) == [A]
    assert set(asked) <= {(A,), (A, A)}  # prefixes that were visited: a backend remembers those


def test_a_branch_is_named_and_pinned_and_undo_takes_it_back(branched: Act) -> None:
    assert shown(branched("mark", node_id=2, name="second", with_tree=True))[2]["name"] == "second"
    pinned = shown(branched("mark", node_id=2, pinned=True, with_tree=True))[2]
    assert pinned["pinned"] and pinned["name"] == "second"
    undone = shown(branched("undo", with_tree=True))[2]
    assert not undone["pinned"] and undone["name"] == "second"


def test_a_branch_is_deleted_with_all_that_follows_and_undo_brings_it_back(branched: Act) -> None:
    answer = branched("delete", node_id=2, with_tree=True)
    assert list(shown(answer)) == [1]
    assert token_ids(answer) == [A]  # who stood there is just before it
    assert view(answer)["node_count"] == 1
    assert branched("go_to", node_id=3)["error"]["code"] == "node_gone"
    assert branched("delete", node_id=2)["error"]["code"] == "node_gone"
    back = branched("undo", with_tree=True)
    assert list(shown(back)) == [1, 2, 3] and token_ids(back) == [A, B, A]


def test_a_new_choice_after_a_delete_is_a_new_node(branched: Act) -> None:
    branched("delete", node_id=2)
    assert list(shown(branched("pick", token_id=B, with_tree=True))) == [1, 4]


@pytest.mark.parametrize("node_id", [-1, 4, 10**30, True, 1.0, "1", None])
@pytest.mark.parametrize("action", ["go_to", "mark", "delete"])
def test_a_wrong_node_is_refused_by_name(
    branched: Act, store: SessionStore, action: str, node_id: Any
) -> None:
    before = session_of(store)
    error = branched(action, node_id=node_id)["error"]
    assert error["code"] == "parameter" and error["facts"]["parameter"] == "node_id"
    assert session_of(store) is before


def test_the_prompt_can_be_neither_named_nor_deleted(branched: Act) -> None:
    for action in ("mark", "delete"):
        assert branched(action, node_id=0)["error"]["facts"]["parameter"] == "node_id"


@pytest.mark.parametrize(
    ("more", "parameter"),
    [({"name": 3}, "name"), ({"name": "x" * 101}, "name"), ({"pinned": "yes"}, "pinned")],
)
def test_a_wrong_mark_is_refused_by_name(
    branched: Act, more: dict[str, Any], parameter: str
) -> None:
    error = branched("mark", node_id=1, **more)["error"]
    assert error["facts"]["parameter"] == parameter


def test_branches_are_compared_as_texts(branched: Act) -> None:
    branched("mark", node_id=2, name="second", pinned=True)
    found = branched("branches")["ok"]["branches"]
    assert [(one["id"], one["text"], one["tokens"]) for one in found["branches"]] == [
        (2, " b", 1),  # pinned: first, though the text goes on
        (1, "a", 1),
        (3, " ba", 2),
    ]
    assert [one["names"] for one in found["branches"]] == [["second"], [], ["second"]]
    assert found["others"] == 0


def test_a_special_token_is_no_part_of_a_branchs_text(begun: Act) -> None:
    begun("pick", token_id=END)
    assert begun("branches")["ok"]["branches"]["branches"][0]["text"] == ""


def test_a_jump_into_the_prompt_and_its_score(begun: Act) -> None:
    asked = view(begun("ask", prompt="a b b"))
    length = asked["length"]
    assert asked["score"]["perplexity"] == pytest.approx(2 ** asked["score"]["bits_per_token"])
    answer = begun("jump", position=1, with_tree=True)
    assert token_ids(answer) == [A]
    assert [node["how"] for node in view(answer)["tree"]["nodes"]] == ["typed"] * (length - 1)
    assert view(answer)["score"] == {
        "perplexity": None,
        "bits_per_token": None,
        "bits_per_byte": None,
        "series": None,
    }  # one token, of which nothing is known
    assert view(begun("undo"))["length"] == length


@pytest.mark.parametrize("position", [0, -1, 99, True, None, "1"])
def test_a_wrong_place_to_jump_to_is_refused_by_name(begun: Act, position: Any) -> None:
    begun("ask", prompt="a b b")
    assert begun("jump", position=position)["error"]["facts"]["parameter"] == "position"


def test_the_tokens_of_the_text_come_as_csv(begun: Act) -> None:
    begun("pick", token_id=B)
    lines = begun("path_csv")["ok"]["path_csv"].splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == [str(A), str(B)]
