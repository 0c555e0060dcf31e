"""Every kind of thing that a client may send instead of a request."""

import copy
import math
from typing import Any

import pytest

from explorer.ui.actions import Actions
from explorer.ui.arguments import MAX_TEXT
from explorer.ui.store import SessionStore
from tests.ui.asking import A, Act, FakeModels, session_of, token_ids


@pytest.mark.parametrize("data", [None, 3, "open", [], ["action"], math.nan, True, "\ud800"])
def test_a_request_is_an_object(models: FakeModels, data: Any) -> None:
    error = Actions(models, SessionStore()).act(data)["error"]
    assert (error["code"], error["facts"]["parameter"]) == ("parameter", "request")


@pytest.mark.parametrize(
    "key", [None, 3, True, [], {}, "", "x", "\ud800", "0" * 35, "0" * 37, "Z" * 36, "\0" * 36]
)
def test_a_key_is_a_uuid(act: Act, store: SessionStore, key: Any) -> None:
    error = act("open", key=key)["error"]
    assert (error["facts"]["parameter"], error["facts"]["allowed"]) == ("key", "a UUID")
    assert len(store) == 0


def test_a_request_without_anything(models: FakeModels) -> None:
    assert Actions(models, SessionStore()).act({})["error"]["facts"]["parameter"] == "key"


STRANGE = [None, True, "", "3", "\ud800", "\0", 0.5, 2.0, math.nan, math.inf, [], {}, -1, 10**400]


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


BAD: list[tuple[str, dict[str, Any], str]] = [
    *(("pick", {"token_id": value}, "token_id") for value in [*STRANGE, 5, nested(500)]),
    ("pick", {}, "token_id"),
    *(("rewind", {"depth": value}, "depth") for value in [*STRANGE, 1]),
    ("rewind", {}, "depth"),
    *(("settings", {"seed": value}, "seed") for value in [*STRANGE, 2**64]),
    *(
        ("settings", {"chain": value}, "chain")
        for value in [value for value in STRANGE if value != []]
    ),
    ("settings", {"chain": nested(500)}, "chain[0]"),
    ("settings", {"chain": [{"step": "top_q"}]}, "chain[0].step"),
    ("settings", {"chain": [{"step": "top_p", "p": 2}]}, "chain[0].p"),
    ("settings", {"chain": "llama3", "seed": -1}, "seed"),
    *(("step", {"joined": value}, "joined") for value in [None, 1, "true", []]),
    *(("sample", {"joined": value}, "joined") for value in [None, 1, "true", []]),
    *(
        ("open", {"top_n": value}, "top_n")
        for value in [None, True, "50", 50.0, math.nan, [], {}, 4, 0, -1, 501, 10**400]
    ),
    *(("open", {"whole_strip": value}, "whole_strip") for value in [None, 1, "true", math.nan]),
    *(("open", {"with_ledger": value}, "with_ledger") for value in [None, 1, "true", math.nan]),
    *(("open", {"with_tree": value}, "with_tree") for value in [None, 1, "true", math.nan]),
    *(("open", {"with_score": value}, "with_score") for value in [None, 1, "true", math.nan]),
    *(("open", {"tree_known": value}, "tree_known") for value in [None, 1, True, [], math.nan]),
    ("open", {"tree_known": "a" * (MAX_TEXT + 1)}, "tree_known"),
    *(("csv", {"top_n": value}, "top_n") for value in [0, 501, "5"]),
    *(("ask", {"prompt": value}, "prompt") for value in [None, 3, True, [], {}, math.nan]),
    ("ask", {}, "prompt"),
    ("ask", {"prompt": "a" * (MAX_TEXT + 1)}, "prompt"),
    *(("ask", {"prompt": "a", "chat": value}, "chat") for value in [None, 0, "true", []]),
    *(("ask", {"prompt": "a", "model": value}, "model") for value in [3, True, ["small"], 0.5]),
    *(("ask", {"prompt": "a", "model": value}, "model") for value in [0, False, [], {}]),
    ("ask", {"prompt": "a", "seed": "1"}, "seed"),
    ("ask", {"prompt": "a", "chain": "nothing"}, "chain"),
    *(("change", {"token_id": value}, "token_id") for value in [*STRANGE, 5]),
    ("change", {}, "token_id"),
    *(("roll", {"count": value}, "count") for value in [*STRANGE, 0, 100_001]),
    *(("roll", {"seed": value}, "seed") for value in [*STRANGE, 2**64]),
    *(("roll", {"which": value}, "which") for value in [*STRANGE, "Next", "a" * 10_000]),
    *(
        ("fall", {"u": value}, "u")
        for value in [*(value for value in STRANGE if value != 0.5), 1, 1.0, -0.1, True, False]
    ),
    ("fall", {}, "u"),
    *(("fall", {"u": 0.5, "which": value}, "which") for value in STRANGE),
    *(("encode", {"text": value}, "text") for value in [None, 3, True, [], {}, math.nan, ""]),
    *(("encode", {"text": "a" * length}, "text") for length in (1001, 3_000_000)),
    ("encode", {}, "text"),
    *((name, {"top_n": 0}, "top_n") for name in ["change", "roll", "fall", "encode"]),
    *((name, {}, "action") for name in ["nothing", "", "Step", "__class__", "\ud800", "a\0"]),
]


@pytest.mark.parametrize(
    ("action", "more", "parameter"), BAD, ids=[f"{bad[0]!a}-{str(bad[1])[:40]!a}" for bad in BAD]
)
def test_a_bad_argument_is_named_and_changes_nothing(
    begun: Act, store: SessionStore, action: str, more: dict[str, Any], parameter: str
) -> None:
    before = session_of(store)
    kept = copy.deepcopy(before)
    error = begun(action, **more)["error"]
    assert (error["code"], error["facts"]["parameter"]) == ("parameter", parameter)
    assert parameter in error["message"]
    assert len(error["message"]) < 700
    assert session_of(store) is before
    assert before == kept


@pytest.mark.parametrize("action", [None, 3, True, 0.5, math.nan, [], ["step"], {}, {"a": 1}])
def test_an_action_is_one_of_the_page(begun: Act, store: SessionStore, action: Any) -> None:
    before = session_of(store)
    assert begun(action)["error"]["facts"]["parameter"] == "action"
    assert session_of(store) is before


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"prompt": "\ud800"}, "text_not_encodable"),
        ({"prompt": "a\udfff"}, "text_not_encodable"),
        ({"prompt": "a\0"}, "text_not_encodable"),  # no scripted token has a null byte
        ({"prompt": ""}, "nothing_to_predict"),
        ({"prompt": "a" * 9}, "context_too_long"),
        ({"prompt": "a", "chat": True}, "no_chat_template"),
        ({"prompt": "a", "model": "none"}, "model_unknown"),
        ({"prompt": "a", "model": "x" * 5000}, "parameter"),
        ({"prompt": "a", "model": "small\0"}, "model_unknown"),
    ],
)
def test_what_a_backend_refuses_changes_nothing(
    begun: Act, store: SessionStore, more: dict[str, Any], code: str
) -> None:
    before = session_of(store)
    error = begun("ask", **more)["error"]
    assert error["code"] == code
    assert error["message"]
    assert session_of(store) is before


@pytest.mark.parametrize(
    ("action", "more", "code"),
    [
        ("roll", {"which": "last"}, "no_draw"),
        ("fall", {"which": "last", "u": 0.5}, "no_draw"),
        ("encode", {"text": "\ud800"}, "text_not_encodable"),
        ("encode", {"text": "\0"}, "text_not_encodable"),
        ("settings", {"chain": [{"step": "constraint", "regex": "("}]}, "grammar_refused"),
        ("settings", {"chain": [{"step": "constraint", "json_schema": "{"}]}, "grammar_refused"),
    ],
)
def test_what_the_lab_refuses_changes_nothing(
    begun: Act, store: SessionStore, action: str, more: dict[str, Any], code: str
) -> None:
    before = session_of(store)
    error = begun(action, **more)["error"]
    assert error["code"] == code
    assert error["message"]
    assert session_of(store) is before


@pytest.mark.parametrize("action", ["ask", "status"])
def test_a_model_name_that_is_no_text_can_still_be_answered(begun: Act, action: str) -> None:
    answer = begun(action, prompt="a", model="\ud800")
    assert answer.keys() <= {"ok", "error"}


@pytest.mark.parametrize("model", [3, ["small"], True])
def test_the_status_of_something_that_is_no_name(begun: Act, model: Any) -> None:
    assert begun("status", model=model)["error"]["facts"]["parameter"] == "model"


def test_a_bad_setting_in_a_question_keeps_the_old_prompt(begun: Act) -> None:
    assert "error" in begun("ask", prompt=" b", seed=-1)
    assert token_ids(begun("open")) == [A]


def test_a_temperature_that_no_float_can_hold_is_an_error(begun: Act, store: SessionStore) -> None:
    before = session_of(store)
    answer = begun("settings", chain=[{"step": "temperature", "temperature": 10**400}])
    assert answer["error"]["facts"]["parameter"] == "chain[0].temperature"
    assert session_of(store) is before
