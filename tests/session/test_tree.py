"""The tree of choices: growing, going back, coming again, and never changing."""

import copy
import dataclasses

import pytest

from explorer.backends.base import ScoredToken
from explorer.session import Node, Tree

PROMPT = (7, 8)


def test_a_new_tree_is_its_prompt() -> None:
    tree = Tree(PROMPT)
    assert (tree.prefix, tree.path, tree.nodes, tree.cursor) == (PROMPT, (), (), 0)


def test_growing_appends_at_the_cursor_and_goes_there() -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(4, "sampled", 0.25)
    assert tree.prefix == (7, 8, 3, 4)
    assert tree.path == (Node(1, 0, 3, "picked"), Node(2, 1, 4, "sampled", 0.25))
    assert tree.cursor == 2


def test_growing_leaves_the_old_tree_alone() -> None:
    tree = Tree(PROMPT)
    tree.grown(3, "picked")
    assert tree == Tree(PROMPT)


@pytest.mark.parametrize(("depth", "prefix"), [(0, (7, 8)), (1, (7, 8, 3)), (2, (7, 8, 3, 4))])
def test_going_back_to_a_depth(depth: int, prefix: tuple[int, ...]) -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(4, "picked")
    back = tree.at_depth(depth)
    assert back.prefix == prefix
    assert back.nodes == tree.nodes


@pytest.mark.parametrize("depth", [-1, 3, 10**30])
def test_a_depth_outside_the_path_is_refused(depth: int) -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(4, "picked")
    with pytest.raises(ValueError, match=f"depth must be from 0 to 2, got {depth}"):
        tree.at_depth(depth)


def test_two_branches_keep_their_own_tokens() -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(4, "greedy")
    other = tree.at_depth(1).grown(5, "picked")
    assert other.prefix == (7, 8, 3, 5)
    assert [node.token_id for node in other.children(1)] == [4, 5]
    assert other.nodes[:2] == tree.nodes


def test_the_same_choice_again_is_the_same_node() -> None:
    tree = Tree(PROMPT).grown(3, "sampled", 0.5).grown(4, "picked")
    again = tree.at_depth(0).grown(3, "sampled", 0.5)
    assert again.nodes == tree.nodes
    assert again.cursor == 1
    assert again.grown(4, "picked") == tree


@pytest.mark.parametrize(("how", "u"), [("picked", None), ("greedy", None), ("sampled", 0.75)])
def test_the_same_token_chosen_in_another_way_is_another_node(how: str, u: float | None) -> None:
    tree = Tree(PROMPT).grown(3, "sampled", 0.5).at_depth(0).grown(3, how, u)  # type: ignore[arg-type]
    assert len(tree.nodes) == 2
    assert tree.path == (Node(2, 0, 3, how, u),)  # type: ignore[arg-type]


def test_the_same_token_below_another_parent_is_another_node() -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(3, "picked")
    assert tree.path == (Node(1, 0, 3, "picked"), Node(2, 1, 3, "picked"))


def test_a_tree_is_a_hashable_value() -> None:
    tree = Tree(PROMPT).grown(3, "picked")
    assert copy.deepcopy(tree) == tree
    assert hash(copy.deepcopy(tree)) == hash(tree)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tree.cursor = 0  # type: ignore[misc]


def test_going_to_any_node_and_to_the_prompt() -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(4, "picked").at_depth(0).grown(5, "picked")
    assert tree.at(2).prefix == (7, 8, 3, 4)
    assert tree.at(0).prefix == PROMPT


@pytest.mark.parametrize("node_id", [-1, 2, 10**30])
def test_a_node_that_is_not_there_is_refused(node_id: int) -> None:
    tree = Tree(PROMPT).grown(3, "picked")
    for action in (tree.at, tree.without, tree.marked):
        with pytest.raises(ValueError, match=f"there is no node {node_id}"):
            action(node_id)


def test_a_name_and_a_pin_are_kept_apart() -> None:
    tree = Tree(PROMPT).grown(3, "picked").marked(1, name="x").marked(1, pinned=True)
    assert (tree.node(1).name, tree.node(1).pinned) == ("x", True)
    assert tree.cursor == 1


def test_deleting_takes_all_that_follows_and_keeps_the_other_numbers() -> None:
    tree = Tree(PROMPT).grown(3, "picked").grown(4, "picked").at_depth(0).grown(5, "picked")
    left = tree.without(1)
    assert [node.node_id for node in left.children(0)] == [3]
    assert left.cursor == 3  # stands elsewhere: stays
    assert tree.at(2).without(1).cursor == 0
    assert left.grown(3, "picked").cursor == 4
    with pytest.raises(ValueError, match="there is no node 2"):
        left.at(2)


def test_a_split_prompt_keeps_every_branch_after_its_rest() -> None:
    tree = (
        Tree((7, 8, 9)).grown(3, "picked").grown(4, "picked").at_depth(0).grown(5, "sampled", 0.5)
    )
    split = tree.split(1, (ScoredToken(8, -1.0), ScoredToken(9, None)))
    assert (split.prompt, split.cursor) == ((7,), 0)
    texts = {split.at(node.node_id).prefix for node in split.nodes}
    assert texts == {(7, 8), (7, 8, 9), (7, 8, 9, 3), (7, 8, 9, 3, 4), (7, 8, 9, 5)}
    first = split.node(1)
    assert first.how == "typed" and first.choice and first.choice.logprob == -1.0
    assert [node.node_id for node in split.nodes] == [1, 2, 3, 4, 5]
