"""The tree for the screen: sums, branches, repetition."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from explorer.session import Choice, Node, Tree
from explorer.views.tree import branches, repetition, tree_nodes


def node(number: int, parent: int, token_id: int, logprob: float | None = -1.0) -> Node:
    return Node(number, parent, token_id, "picked", choice=Choice((), (), logprob=logprob))


def text_of(token_id: int) -> str:
    return f"t{token_id}"


def bytes_of(token_id: int) -> bytes:
    return b"%d," % token_id


def test_sums_go_along_the_path_and_are_unknown_after_an_unknown() -> None:
    tree = Tree((7,), (node(1, 0, 1), node(2, 1, 2, None), node(3, 2, 3), node(4, 1, 4, -0.5)), 4)
    found = tree_nodes(tree, text_of)
    assert [one["sum"] for one in found["nodes"]] == [-1.0, None, None, -1.5]
    assert [one["probability"] for one in found["nodes"]] == [
        pytest.approx(math.exp(-1)),
        None,
        pytest.approx(math.exp(-1)),
        pytest.approx(math.exp(-0.5)),
    ]
    assert (found["cursor"], found["path"]) == (4, [1, 4])


def test_an_impossible_token_has_no_sum() -> None:
    found = tree_nodes(Tree((7,), (node(1, 0, 1, -math.inf),)), text_of)
    assert found["nodes"][0]["sum"] is None


def test_a_node_without_a_choice_is_unknown() -> None:
    found = tree_nodes(Tree((7,), (Node(1, 0, 1, "typed"),)), text_of)
    assert found["nodes"][0]["probability"] is None


def test_deleted_nodes_are_not_there() -> None:
    tree = Tree((7,), (node(1, 0, 1), node(2, 1, 2), node(3, 0, 3))).without(1)
    assert [one["id"] for one in tree_nodes(tree, text_of)["nodes"]] == [3]
    assert [one["id"] for one in branches(tree, bytes_of)["branches"]] == [3]


TREE = Tree((7,), (node(1, 0, 1), node(2, 1, 2), node(3, 0, 3)), 1)
CHANGES: dict[str, Callable[[Tree], Tree]] = {
    "name": lambda tree: tree.marked(1, name="x"),
    "pin": lambda tree: tree.marked(1, pinned=True),
    "deleted": lambda tree: tree.without(3),
    "grown": lambda tree: tree.grown(4, "greedy"),
    "token": lambda tree: tree._with({2: node(2, 1, 9)}),
    "parent": lambda tree: tree._with({2: node(2, 0, 2)}),
    "probability": lambda tree: tree._with({2: node(2, 1, 2, -2.0)}),
    "unknown": lambda tree: tree._with({2: node(2, 1, 2, None)}),
    "how": lambda tree: tree._with({2: replace(tree.nodes[1], how="sampled")}),
}


def test_nodes_that_are_known_do_not_travel_again() -> None:
    first = tree_nodes(TREE, text_of)
    assert tree_nodes(TREE, text_of, "another")["nodes"] == first["nodes"] is not None
    again = tree_nodes(TREE.at(3), text_of, first["digest"])
    assert again == {"cursor": 3, "path": [3], "digest": first["digest"], "nodes": None}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_drawn_changes_the_digest(change: str) -> None:
    known = tree_nodes(TREE, text_of)["digest"]
    changed = tree_nodes(CHANGES[change](TREE), text_of, known)
    assert changed["nodes"] is not None and changed["digest"] != known


def test_a_digest_depends_on_values_only() -> None:
    """Not on which of them share memory; and the same ids of another model are other texts."""
    built = tree_nodes(TREE, lambda token_id: "".join(["t", str(token_id)]))
    assert built["digest"] == tree_nodes(TREE, text_of)["digest"]
    assert built["digest"] != tree_nodes(TREE, lambda token_id: "other")["digest"]


def test_more_branches_than_are_shown_are_counted() -> None:
    tree = Tree((7,), tuple(node(number, 0, number) for number in range(1, 6)))
    found = branches(tree, bytes_of, most=3)
    assert [one["text"] for one in found["branches"]] == ["1,", "2,", "3,"]
    assert found["others"] == 2


@pytest.mark.parametrize(
    ("token_ids", "share"),
    [
        ([1, 2, 3], None),
        ([1, 2, 3, 4], 0.0),
        ([1] * 6, 2 / 3),  # three 4-grams, one of them new
        ([1, 2, 3, 4, 1, 2, 3, 4, 1], 2 / 6),
    ],
)
def test_repetition_is_the_share_of_4_grams_seen_before(
    token_ids: list[int], share: float | None
) -> None:
    assert repetition(token_ids) == share
