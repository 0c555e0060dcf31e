"""Limits: what is refused, by what name, and how the operator sets them."""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.session import to_link
from explorer.settings import PUBLIC, Limits
from explorer.ui.actions import Actions
from explorer.ui.store import SessionStore
from tests.ui.asking import FakeModels
from tests.ui.serving import BYTES

SMALL = Limits(
    table_rows=20,
    endpoint_rows=9,
    run_tokens=3,
    beams=2,
    ahead_tokens=3,
    ahead_nodes=4,
    pinned_words=1,
    rolls=10,
    followed_passes=2,
    chain_characters=100,
    tree_nodes=3,
    undo_steps=2,
    prompt_tokens=6,
    file_characters=5000,
    link_characters=3000,
)
KEY = str(uuid.uuid4())


@pytest.fixture
def act() -> Callable[..., dict[str, Any]]:
    backend = ScriptedBackend(BYTES, context_length=100, model_id="small")
    actions = Actions(FakeModels(small=backend), SessionStore(limits=SMALL), SMALL)

    def act(action: str, **more: Any) -> dict[str, Any]:
        return actions.act({"action": action, "key": KEY, "top_n": 10, **more})

    assert "ok" in act("ask", prompt="ab")
    return act


@pytest.mark.parametrize(
    ("action", "more", "parameter", "most"),
    [
        ("open", {"top_n": 21}, "top_n", 20),
        ("ahead", {"kind": "beam", "width": 3, "depth": 2}, "width", 2),
        ("ahead", {"kind": "beam", "width": 2, "depth": 4}, "depth", 3),
        ("ahead", {"kind": "greedy", "depth": 4}, "depth", 3),
        ("ahead", {"kind": "cover", "share": 0.5, "depth": 2, "most_nodes": 5}, "most_nodes", 4),
        ("roll", {"count": 11}, "count", 10),
        ("roll", {"count": 10**400}, "count", 10),
        ("roll", {"count": float("inf")}, "count", 10),
        ("characters", {"passes": 3}, "passes", 2),
    ],
)
def test_more_than_is_allowed_is_named(
    act: Callable[..., dict[str, Any]], action: str, more: dict[str, Any], parameter: str, most: int
) -> None:
    facts = act(action, **more)["error"]["facts"]
    assert (facts["parameter"], facts["high"]) == (parameter, most)
    assert facts["allowed"].endswith(f" to {most}")


def test_what_is_allowed_goes_through(act: Callable[..., dict[str, Any]]) -> None:
    for action, more in [
        ("open", {"top_n": 20}),
        ("ahead", {"kind": "beam", "width": 2, "depth": 3}),
        ("roll", {"count": 10}),
        ("characters", {"passes": 2}),
        ("words", {"words": ["a"]}),
    ]:
        assert "ok" in act(action, **more)


def test_a_list_of_words_and_a_chain_have_a_length(act: Callable[..., dict[str, Any]]) -> None:
    assert "at most 1 texts" in act("words", words=["a", "b"])["error"]["facts"]["allowed"]
    chain = [{"step": "logit_bias", "bias": {str(token): 1 for token in range(50)}}]
    error = act("settings", chain=chain)["error"]
    assert error["code"] == "limit_chain_characters" and error["facts"]["limit"] == 100
    assert "ok" in act("settings", chain=[{"step": "top_k", "k": 3}])


def test_a_tree_grows_to_its_limit_and_reset_empties_it(
    act: Callable[..., dict[str, Any]],
) -> None:
    for _ in range(3):
        assert "ok" in act("step")
    error = act("step")["error"]
    assert (error["code"], error["facts"]) == ("limit_tree_nodes", {"value": 4, "limit": 3})
    assert "ok" in act("rewind", depth=0)  # what grows nothing still goes
    assert act("open")["ok"]["view"]["node_count"] == 3
    act("reset")
    assert "ok" in act("step")


def test_undo_goes_back_so_far_and_no_further(act: Callable[..., dict[str, Any]]) -> None:
    for _ in range(3):
        act("step")
    assert [act("undo")["ok"]["view"]["length"] for _ in range(2)] == [4, 3]
    assert act("undo")["ok"]["view"]["can_undo"] is False


def test_a_session_that_comes_in_is_within_the_limits(act: Callable[..., dict[str, Any]]) -> None:
    for _ in range(3):
        act("step")
    file = act("json")["ok"]["json"]
    state = json.loads(file)
    assert "ok" in act("load", file=file)
    wide = {**state, "prompt": {**state["prompt"], "token_ids": [1] * 7}}
    deep = {**state, "tree": {**state["tree"], "nodes": state["tree"]["nodes"] * 2}}
    for changed, code, value in [(wide, "prompt_tokens", 7), (deep, "tree_nodes", 6)]:
        for how in ({"file": json.dumps(changed)}, {"link": to_link(changed)}):
            error = act("load", **how)["error"]
            assert error["code"] == f"limit_{code}" and error["facts"]["value"] == value
    bomb = to_link({"model": {"name": "small"}, "x": "y" * 10**6})
    assert len(bomb) < 3000
    assert act("load", link=bomb)["error"]["code"] == "state_too_big"
    assert act("open")["ok"]["view"]["length"] == 5


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("beam=3", "'beam' must be one of prompt_characters, "),
        ("beams=17", "beams must be a whole number from 1 to 16, got '17'"),
        ("beams=0", "got '0'"),
        ("beams=-1", "got '-1'"),
        ("beams=1_0", "got '1_0'"),
        ("beams=٣", "got '٣'"),
        ("beams", "got ''"),
        ("beams=" + "9" * 5000, "beams must be a whole number"),
    ],
)
def test_a_wrong_limit_is_named(said: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        PUBLIC.with_changes(said)


def test_the_operator_may_set_each_limit() -> None:
    assert PUBLIC.with_changes("") is not Limits() and PUBLIC.with_changes("") == PUBLIC
    changed = PUBLIC.with_changes("beams=16, run_tokens = 7,")
    assert (changed.beams, changed.run_tokens, changed.rolls) == (16, 7, PUBLIC.rolls)
