"""Sessions that come as a file or a link: the same again, or a reason, and nothing lost."""

import json
from typing import Any

import pytest

from explorer.session import to_link
from explorer.ui.store import SessionStore
from tests.ui.asking import KEY, OTHER_KEY, A, Act, B, FakeModels, session_of, token_ids, view

CHAIN = [{"step": "mirostat_v2", "tau": 1.0, "eta": 0.5}, {"step": "top_k", "k": 3}]


@pytest.fixture
def travelled(begun: Act) -> Act:
    """Two branches under Mirostat, standing in the first."""
    begun("settings", chain=CHAIN, seed=7)
    begun("sample")
    begun("sample")
    begun("rewind", depth=0)
    begun("pick", token_id=B)
    begun("mark", node_id=3, name="other")
    begun("go_to", node_id=2)
    return begun


def test_a_file_opens_the_same_session_in_another_tab(
    travelled: Act, act: Act, store: SessionStore
) -> None:
    before = session_of(store)
    answer = act("load", key=OTHER_KEY, file=travelled("json")["ok"]["json"], with_tree=True)
    assert answer["ok"]["differs"] == []
    after = store.slot(OTHER_KEY).session
    assert before and after
    assert (after.now, after.seed) == (before.now, before.seed)
    assert after.chain_here == before.chain_here  # with Mirostat's mu
    assert view(answer)["dials"]["past"] and view(answer)["tree"]["cursor"] == 2


def test_a_link_does_the_same(travelled: Act, act: Act, store: SessionStore) -> None:
    link = travelled("link")["ok"]["link"]
    assert act("load", key=OTHER_KEY, link=link)["ok"]["differs"] == []
    before, after = session_of(store), store.slot(OTHER_KEY).session
    assert before and after and after.now == before.now


def test_undo_after_loading_brings_the_old_session_back(travelled: Act) -> None:
    link = travelled("link")["ok"]["link"]
    travelled("ask", prompt="aa")
    travelled("load", link=link)
    assert view(travelled("open"))["prompt"]["text"] == "a"
    undone = travelled("undo")
    assert (view(undone)["prompt"]["text"], token_ids(undone)) == ("aa", [A, A])


def test_numbers_that_differ_are_told(travelled: Act) -> None:
    state = json.loads(travelled("json")["ok"]["json"])
    state["fingerprint"]["top"][0][1] += 1
    state["model"]["dtype"] = "bfloat16"
    differs = travelled("load", file=json.dumps(state))["ok"]["differs"]
    assert set(differs) == {"dtype", "numbers"}


def test_a_model_on_its_way_is_waited_for(travelled: Act, models: FakeModels) -> None:
    link = travelled("link")["ok"]["link"]
    models.phase = "loading"
    assert travelled("load", link=link)["ok"]["status"]["phase"] == "loading"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "parameter"),
        ({"file": "{}", "link": "1.x"}, "parameter"),
        ({"file": 3}, "parameter"),
        ({"link": ["1."]}, "parameter"),
        ({"file": "no json"}, "state_damaged"),
        ({"file": "[" * 100_000}, "state_damaged"),
        ({"file": "[]"}, "state_damaged"),
        ({"file": "{}"}, "state_damaged"),
        ({"file": '{"model": {"name": "\\ud800"}}'}, "state_damaged"),
        (
            {"file": '{"model": {"name": "small"}, "format": "next-token-explorer/9"}'},
            "state_version",
        ),
        ({"file": '{"model": {"name": "small"}}'}, "state_damaged"),
        ({"file": '{"model": {"name": "nowhere"}}'}, "model_unknown"),
        ({"file": " " * 5_000_001}, "limit_file_characters"),
        ({"link": "x"}, "state_damaged"),
        ({"link": "1." + "A" * 200_000}, "limit_link_characters"),
        ({"link": to_link({"model": {"name": "small", "x": "y" * 21_000_000}})}, "state_too_big"),
    ],
)
def test_what_can_not_be_loaded_is_refused_and_the_session_stays(
    travelled: Act, store: SessionStore, more: dict[str, Any], code: str
) -> None:
    before = session_of(store)
    assert travelled("load", **more)["error"]["code"] == code
    assert session_of(store) is before


def test_a_link_fetches_no_model_that_nobody_here_asked_for(act: Act, models: FakeModels) -> None:
    models.phase = "idle"
    link = to_link({"model": {"name": "chatty"}})
    assert act("load", key=KEY, link=link)["error"]["code"] == "link_model"
    assert act("load", key=KEY, file='{"model": {"name": "chatty"}}')["ok"]["status"]
