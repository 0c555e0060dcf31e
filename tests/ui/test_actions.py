"""Every action of the page."""

import json
from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import STEPS, uniform
from explorer.ui.actions import Actions
from explorer.ui.payload import STRIP_TOKENS, choice_payload
from explorer.ui.store import SessionStore
from tests.ui.asking import (
    END,
    HALF,
    KEY,
    OTHER_KEY,
    REST,
    A,
    Act,
    B,
    FakeModels,
    session_of,
    token_ids,
    view,
)


def test_asking_shows_everything(act: Act) -> None:
    shown = view(act("ask", prompt="a"))
    assert shown["prompt"] == {"text": "a", "chat": False}
    assert shown["model"]["name"] == "small"
    assert (shown["model"]["vocab_size"], shown["model"]["context_length"]) == (5, 8)
    assert (shown["length"], shown["prompt_length"], shown["chips_from"]) == (1, 1, 0)
    assert (shown["can_undo"], shown["can_redo"], shown["stop"]) == (False, False, None)
    assert [row["text"] for row in shown["rows"]] == ["a", "␣b", "⟨E3 81⟩", "⟨82⟩", "</s>"]
    assert [row["probability"] for row in shown["rows"]] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0])
    assert shown["rows"][4]["logit"] is None
    assert (shown["chain"], shown["seed"], shown["next_draw"]["u"]) == ([], 0, uniform(0, 1))
    assert shown["other"]["count"] == 0
    assert shown["summary"]["kept"] == 5
    assert shown["chart"]["kept"] == 5


def test_asking_with_chain_and_seed(act: Act) -> None:
    shown = view(act("ask", prompt="a", chain=[{"step": "top_k", "k": 2}], seed=9))
    assert (shown["chain"], shown["seed"]) == ([{"step": "top_k", "k": 2}], 9)
    assert [row["cut_by"] for row in shown["rows"]] == [None, None, "top_k", "top_k", "top_k"]


def test_asking_again_keeps_chain_and_seed_and_can_be_undone(begun: Act) -> None:
    begun("settings", chain="llama3", seed=4)
    shown = view(begun("ask", prompt=" b"))
    assert (shown["seed"], shown["can_undo"]) == (4, True)
    assert [step["step"] for step in shown["chain"]] == ["temperature", "top_p"]
    assert token_ids(begun("undo")) == [A]


def test_asking_another_model_in_its_own_template(begun: Act) -> None:
    answer = begun("ask", model="chatty", prompt="a", chat=True)
    assert token_ids(answer) == [END, A]
    assert view(answer)["model"]["name"] == "chatty"
    assert view(answer)["prompt"]["chat"] is True
    assert view(begun("undo"))["model"]["name"] == "small"


def test_asking_a_model_on_its_way_says_how_far_it_is(
    begun: Act, models: FakeModels, store: SessionStore
) -> None:
    before = session_of(store)
    models.phase = "downloading"
    status = begun("ask", model="chatty", prompt="a")["ok"]["status"]
    assert status == {
        "model": "chatty",
        "phase": "downloading",
        "done_bytes": 5,
        "total_bytes": 10,
        "error": None,
    }
    assert session_of(store) is before


def test_asking_a_model_that_failed_says_why(act: Act, models: FakeModels) -> None:
    models.phase = "failed"
    error = act("ask", prompt="a")["ok"]["status"]["error"]
    assert error == {"code": "model_damaged", "facts": {"file": "f"}, "message": "broken"}


def test_status_needs_no_session(models: FakeModels, store: SessionStore) -> None:
    models.phase = "loading"
    answer = Actions(models, store).act({"action": "status", "model": "small"})
    assert answer["ok"]["status"]["phase"] == "loading"
    assert len(store) == 0


def test_stepping_and_picking(begun: Act) -> None:
    assert token_ids(begun("step")) == [A, A]
    answer = begun("pick", token_id=B)
    assert token_ids(answer) == [A, A, B]
    assert [chip["parts"][0]["how"] for chip in view(answer)["chips"]] == [
        "prompt",
        "greedy",
        "picked",
    ]


def test_sampling_uses_the_u_that_was_announced(begun: Act) -> None:
    announced = view(begun("open"))["next_draw"]["u"]
    drawn = view(begun("sample"))["chips"][-1]["parts"][-1]
    assert (drawn["how"], drawn["u"]) == ("sampled", announced)
    assert announced == uniform(0, 1)


def test_the_same_seed_takes_the_same_path(begun: Act) -> None:
    there = [token_ids(begun("sample")) for _ in range(5)][-1]
    begun("rewind", depth=0)
    assert [token_ids(begun("sample")) for _ in range(5)][-1] == there


def test_one_undo_takes_back_a_run(begun: Act) -> None:
    begun("sample", joined=False)
    for _ in range(3):
        begun("sample", joined=True)
    assert view(begun("open"))["length"] == 5
    assert view(begun("undo"))["length"] == 1
    assert view(begun("redo"))["length"] == 5


def test_rewinding_and_resetting(begun: Act) -> None:
    begun("pick", token_id=B)
    begun("pick", token_id=A)
    assert token_ids(begun("rewind", depth=1)) == [A, B]
    answer = begun("reset")
    assert token_ids(answer) == [A]
    assert view(answer)["can_undo"]
    assert token_ids(begun("undo")) == [A, B]


def test_undo_and_redo_at_their_ends_change_nothing(begun: Act) -> None:
    assert token_ids(begun("undo")) == token_ids(begun("redo")) == [A]


def test_settings_answer_with_the_table_alone(begun: Act) -> None:
    answer = begun("settings", chain=[{"step": "top_k", "k": 1}], seed=3)["ok"]
    assert list(answer) == ["table"]
    assert answer["table"]["summary"]["kept"] == 1
    assert (answer["table"]["seed"], answer["table"]["next_draw"]["u"]) == (3, uniform(3, 1))


def test_settings_change_only_what_is_given(begun: Act) -> None:
    begun("settings", chain="greedy", seed=3)
    assert begun("settings", seed=4)["ok"]["table"]["chain"] == [{"step": "greedy"}]
    assert begun("settings", chain=[])["ok"]["table"]["seed"] == 4
    assert begun("settings")["ok"]["table"]["seed"] == 4


def test_settings_ask_the_model_nothing(begun: Act, models: FakeModels) -> None:
    forwards = models.backends["small"].forwards
    for k in range(20):
        begun("settings", chain=[{"step": "top_k", "k": k}])
    assert models.backends["small"].forwards == forwards


def test_a_begun_character_is_completed_in_the_table(begun: Act) -> None:
    shown = view(begun("pick", token_id=HALF))
    assert {row["token_id"]: row["completes"] for row in shown["rows"]} == {
        A: None,
        B: None,
        HALF: None,
        REST: "あ",
        END: None,
    }
    assert begun("pick", token_id=REST)["ok"]["view"]["chips"][-1]["text"] == "あ"


def test_the_end_of_the_text(begun: Act) -> None:
    begun("pick", token_id=B)
    assert view(begun("pick", token_id=END))["stop"] == "end_of_text"
    assert view(begun("step"))["stop"] is None


def test_a_full_context(begun: Act, store: SessionStore) -> None:
    for _ in range(7):
        answer = begun("step")
    assert view(answer)["stop"] == "context_full"
    before = session_of(store)
    for action in ("step", "sample"):
        error = begun(action)["error"]
        assert (error["code"], error["facts"]) == ("context_too_long", {"length": 9, "limit": 8})
    assert begun("pick", token_id=A)["error"]["code"] == "context_too_long"
    assert session_of(store) is before


def test_fewer_rows_leave_a_rest(act: Act) -> None:
    words = [bytes([65 + place]) for place in range(26)]
    models = FakeModels(small=ScriptedBackend(words))
    shown = Actions(models, SessionStore()).act(
        {"action": "ask", "key": KEY, "prompt": "A", "top_n": 5}
    )["ok"]["view"]
    assert len(shown["rows"]) == 5
    assert shown["other"]["count"] == 21
    assert shown["other"]["probability"] == pytest.approx(21 / 26)


def test_a_long_strip_is_cut_at_its_beginning_unless_all_is_wanted() -> None:
    models = FakeModels(small=ScriptedBackend([b"a", b"b"], context_length=1000))
    actions = Actions(models, SessionStore())
    question = {"action": "ask", "key": KEY, "prompt": "a" * (STRIP_TOKENS + 7)}
    shown = actions.act(question)["ok"]["view"]
    assert (shown["chips_from"], len(shown["chips"])) == (7, STRIP_TOKENS)
    shown = actions.act({**question, "whole_strip": True})["ok"]["view"]
    assert (shown["chips_from"], len(shown["chips"])) == (0, STRIP_TOKENS + 7)


def test_files(begun: Act) -> None:
    begun("pick", token_id=B)
    begun("pick", token_id=END)
    assert begun("text")["ok"]["text"] == "a b"
    assert begun("csv")["ok"]["csv"].startswith("\ufeffrank,")
    shown = json.loads(begun("json")["ok"]["json"])
    assert shown["tree"]["cursor"] == 2


def test_files_leave_the_session_alone(begun: Act, store: SessionStore) -> None:
    before = session_of(store)
    for action in ("csv", "json", "text"):
        begun(action)
    assert session_of(store) is before


def test_keys_keep_sessions_apart(begun: Act) -> None:
    begun("ask", prompt=" b", key=OTHER_KEY)
    assert token_ids(begun("open")) == [A]
    assert token_ids(begun("open", key=OTHER_KEY)) == [B]


@pytest.mark.parametrize(
    "action", ["step", "sample", "pick", "rewind", "undo", "redo", "reset", "settings", "open"]
)
def test_an_action_without_a_session_says_that_it_is_gone(act: Act, action: str) -> None:
    error = act(action)["error"]
    assert error["code"] == "session_gone"
    assert "no longer has this session" in error["message"]


@pytest.mark.parametrize("action", ["csv", "json", "text", "nothing", None])
def test_any_other_action_without_a_session_is_gone_too(act: Act, action: Any) -> None:
    assert act(action)["error"]["code"] == "session_gone"


def test_a_temperature_beyond_64_bits_can_still_be_answered(begun: Act) -> None:
    begun("settings", chain=[{"step": "temperature", "temperature": 10**30}])
    begun("open")


def test_picking_an_impossible_token_is_still_json(begun: Act) -> None:
    assert token_ids(begun("pick", token_id=END)) == [A, END]


EXAMPLES: dict[str, dict[str, Any]] = {
    "logit_bias": {"bias": {"0": 1.5, "3": None}},
    "banned_sequences": {"sequences": [[0], [1, 2]]},
    "constraint": {"regex": "a*"},
    "repetition_penalty": {"penalty": 1.2, "window": 3},
    "frequency_presence_penalty": {"frequency": 0.5, "presence": -1, "window": 2},
    "dry": {"multiplier": 0.8, "base": 2, "allowed_length": 1, "window": 0, "breakers": [1]},
    "no_repeat_ngram": {"n": 2},
    "top_n_sigma": {"n": 1},
    "temperature": {"temperature": 1},
    "dynamic_temperature": {"low": 0.5, "high": 1.5, "exponent": 1},
    "quadratic_smoothing": {"factor": 1, "curve": 1},
    "top_k": {"k": 1},
    "top_p": {"p": 1},
    "min_p": {"min_p": 1},
    "typical": {"mass": 1},
    "epsilon_cutoff": {"epsilon": 1},
    "eta_cutoff": {"epsilon": 1},
    "top_a": {"a": 1},
    "tail_free": {"z": 1},
    "top_h": {"h": 1},
    "p_less": {},
    "xtc": {"threshold": 0.1, "probability": 1},
    "mirostat_v1": {"tau": 1, "eta": 1, "mu": 1, "m": 2},
    "mirostat_v2": {"tau": 1, "eta": 1, "mu": None},
    "greedy": {},
}


def test_every_step_can_be_set(begun: Act) -> None:
    assert EXAMPLES.keys() == STEPS.keys()
    for name, values in EXAMPLES.items():
        table = begun("settings", chain=[{"step": name, **values}], with_ledger=True)["ok"]["table"]
        (told,) = table["chain"]
        assert told["step"] == name
        assert {key: told[key] for key in values} == values
        assert [stage["step"] for stage in table["stages"]] == [name]
        assert len(table["ledger"]["curves"]) == 1


def test_a_choice_as_the_page_gets_it(models: FakeModels) -> None:
    assert choice_payload(models.choices()[0]) == {
        "name": "small",
        "title": "Small",
        "parameters": "1M",
        "languages": ["en"],
        "licence": "MIT",
        "licence_url": "https://example.org",
        "needs_hub": False,
        "download_bytes": None,
        "rounds": None,
    }
