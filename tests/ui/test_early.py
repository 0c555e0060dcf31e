"""The page on what an earlier start left, while the model is on its way."""

from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend
from explorer.settings import Limits
from explorer.ui.actions import Actions
from explorer.ui.opening import examples, opening, opening_prompt
from explorer.ui.page import _setup
from explorer.ui.store import SessionStore
from tests.ui.asking import (
    KEY,
    A,
    Act,
    B,
    FakeModels,
    first_table,
    session_of,
    token_ids,
    view,
)
from tests.ui.sound import REQUESTS

LOADING = {"model": "small", "phase": "loading", "done_bytes": 5, "total_bytes": 10, "error": None}


class OnTheWay(FakeModels):
    """The small model's table is there; the model itself is not to be had before it is ready."""

    def __init__(self, small: ScriptedBackend) -> None:
        super().__init__(small=small)
        self.first_tables = {"small": first_table(small, "a b")}
        self.phase = "loading"

    def early(self, name: str) -> Backend | None:
        return None if self.phase == "ready" else super().early(name)

    def get(self, name: str) -> Backend:
        assert self.phase == "ready", "nobody may wait for the model"
        return super().get(name)


@pytest.fixture
def models() -> FakeModels:
    words = [b"a", b" b", b"\xe3\x81", b"\x82", b"</s>"]
    script = {(A, B): [0.4, 0.3, 0.2, 0.1, 0.0]}
    small = ScriptedBackend(words, script, special=[4], end_token_ids=(4,), context_length=8)
    return OnTheWay(small)


@pytest.fixture
def early(act: Act) -> Act:
    assert view(act("ask", prompt="a b"))
    return act


def test_the_first_table_says_that_the_model_is_on_its_way(act: Act, models: FakeModels) -> None:
    answer = act("ask", prompt="a b")
    assert answer["ok"]["early"] == LOADING
    models.phase = "ready"
    there = act("open")
    assert "early" not in there["ok"]
    assert view(there)["chips"] == view(answer)["chips"]
    for now, before in zip(view(there)["rows"], view(answer)["rows"], strict=True):
        assert (now["rank"], now["token_id"], now["text"]) == (
            before["rank"],
            before["token_id"],
            before["text"],
        )
        assert now["raw_probability"] == pytest.approx(before["raw_probability"], abs=1e-7)


def test_another_prompt_waits_for_the_model(act: Act, store: SessionStore) -> None:
    assert act("ask", prompt="a")["ok"] == {"status": LOADING}
    assert session_of(store) is None


def test_rules_act_on_it_at_once(early: Act) -> None:
    answer = early("settings", chain=[{"step": "top_k", "k": 2}])["ok"]
    assert answer["early"] == LOADING
    rows = answer["table"]["rows"]
    assert [row["probability"] for row in rows[:3]] == pytest.approx([4 / 7, 3 / 7, 0])


def test_a_click_waits_for_the_model_and_is_done_once_it_is_there(
    early: Act, models: FakeModels, store: SessionStore
) -> None:
    before = session_of(store)
    number = "1" * 36
    assert early("step", request=number)["ok"] == {"away": LOADING}
    assert session_of(store) == before
    models.phase = "ready"
    assert token_ids(early("step", request=number)) == [A, B, A]
    assert token_ids(early("undo")) == [A, B]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: str(one["action"]))
def test_no_action_breaks_or_waits_without_a_word(early: Act, request_: dict[str, Any]) -> None:
    answer = early(**{**request_, "key": KEY})
    if "ok" in answer:
        assert answer["ok"].keys() & {"early", "away", "status"}
    else:
        assert answer["error"]["code"] in ("parameter", "node_gone", "no_ahead", "no_draw")


def test_a_copy_of_such_a_session_opens_again(early: Act) -> None:
    link = early("link")["ok"]["link"]
    answer = early("load", key="0" * 36, link=link)
    assert (answer["ok"]["early"], answer["ok"]["differs"]) == (LOADING, [])
    assert token_ids(answer) == [A, B]


def test_a_load_that_fails_is_told(early: Act, models: FakeModels) -> None:
    models.phase = "failed"
    status = early("status", model="small")["ok"]["status"]
    assert (status["phase"], status["error"]["code"]) == ("failed", "model_damaged")


def test_only_what_the_page_asks_by_itself_is_kept(models: FakeModels, store: SessionStore) -> None:
    text = opening("small")["prompt"]
    models.backends["small"] = ScriptedBackend([bytes([value]) for value in range(256)])
    models.phase = "ready"
    actions = Actions(models, store)

    def ask(prompt: str, chat: bool = False) -> None:
        actions.act({"action": "ask", "key": KEY, "prompt": prompt, "chat": chat})

    for prompt in ("what a user typed", text + " ", text[:-1]):
        ask(prompt)
    ask(text, chat=True)
    assert models.kept == []
    ask(text)
    assert models.kept == [("small", text, False)]


def test_the_page_begins_with_the_first_example_of_its_model(models: FakeModels) -> None:
    assert _setup(models, Limits())["opening"] == opening("small")
    assert opening("small") == {**examples()[0], "model": "small"}
    for example in examples():
        first = opening(example["model"])
        assert first == next(one for one in examples() if one["model"] == example["model"])
        assert opening_prompt(example["model"]).text == first["prompt"]
