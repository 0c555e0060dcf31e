"""Every action of the page, and every kind of thing a client may send instead."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import orjson
import pytest

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend, LoadPhase, LoadStatus, ModelChoice, ModelUnavailable
from explorer.decoding import chain_to_json, uniform
from explorer.decoding.codec import STEPS
from explorer.session import Session
from explorer.ui.actions import Actions
from explorer.ui.arguments import MAX_TEXT
from explorer.ui.payload import STRIP_TOKENS, choice_payload
from explorer.ui.store import SessionStore

KEY = "123e4567-e89b-12d3-a456-426614174000"
OTHER_KEY = "0" * 36
A, B, HALF, REST, END = range(5)
Act = Callable[..., dict[str, Any]]


class FakeModels:
    """Models that are there at once, or on their way for as long as a test wants."""

    default = "small"
    public = False

    def __init__(self, **backends: ScriptedBackend) -> None:
        self.backends = backends
        self.phase: LoadPhase = "ready"

    def choices(self) -> tuple[ModelChoice, ...]:
        return (ModelChoice("small", "Small", "1M", ("en",), "MIT", "https://example.org", False),)

    def request(self, name: str) -> LoadStatus:
        if name not in self.backends:
            raise ModelUnavailable("unknown", f"there is no model {name!r}", model=name)
        return self.status(name)

    def status(self, name: str) -> LoadStatus:
        if self.phase == "failed":
            return LoadStatus("failed", error=ModelUnavailable("damaged", "broken", file="f"))
        return LoadStatus(self.phase, 5, 10)

    def get(self, name: str) -> Backend:
        self.request(name)
        return self.backends[name]


@pytest.fixture
def models() -> FakeModels:
    words = [b"a", b" b", b"\xe3\x81", b"\x82", b"</s>"]
    script = {(A,): [0.4, 0.3, 0.2, 0.1, 0.0]}
    small = ScriptedBackend(
        words, script, special=[END], end_token_ids=(END,), context_length=8, model_id="small"
    )
    chatty = ScriptedBackend(words, bos_token_id=END, chat=True, model_id="chatty")
    return FakeModels(small=small, chatty=chatty)


@pytest.fixture
def store() -> SessionStore:
    return SessionStore()


@pytest.fixture
def act(models: FakeModels, store: SessionStore) -> Act:
    actions = Actions(models, store)

    def act(action: Any, key: Any = KEY, **more: Any) -> dict[str, Any]:
        answer = actions.act({"action": action, "key": key, **more})
        json.dumps(answer, allow_nan=False)
        orjson.dumps(answer)  # what Gradio sends with: no lone surrogate, at most 64 bits
        return answer

    return act


@pytest.fixture
def begun(act: Act) -> Act:
    """`act` after a first question."""
    assert "ok" in act("ask", prompt="a")
    return act


def view(answer: dict[str, Any]) -> dict[str, Any]:
    return answer["ok"]["view"]


def token_ids(answer: dict[str, Any]) -> list[int]:
    return [part["token_id"] for chip in view(answer)["chips"] for part in chip["parts"]]


def session_of(store: SessionStore) -> Session | None:
    return store.slot(KEY).session


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
    assert (shown["chain"], shown["seed"], shown["u"]) == ([], 0, uniform(0, 1))
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
    announced = view(begun("open"))["u"]
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
    assert (answer["table"]["seed"], answer["table"]["u"]) == (3, uniform(3, 1))


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
    *(("csv", {"top_n": value}, "top_n") for value in [0, 501, "5"]),
    *(("ask", {"prompt": value}, "prompt") for value in [None, 3, True, [], {}, math.nan]),
    ("ask", {}, "prompt"),
    ("ask", {"prompt": "a" * (MAX_TEXT + 1)}, "prompt"),
    *(("ask", {"prompt": "a", "chat": value}, "chat") for value in [None, 0, "true", []]),
    *(("ask", {"prompt": "a", "model": value}, "model") for value in [3, True, ["small"], 0.5]),
    *(("ask", {"prompt": "a", "model": value}, "model") for value in [0, False, [], {}]),
    ("ask", {"prompt": "a", "seed": "1"}, "seed"),
    ("ask", {"prompt": "a", "chain": "nothing"}, "chain"),
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


def test_a_temperature_beyond_64_bits_can_still_be_answered(begun: Act) -> None:
    begun("settings", chain=[{"step": "temperature", "temperature": 10**30}])
    begun("open")


def test_picking_an_impossible_token_is_still_json(begun: Act) -> None:
    assert token_ids(begun("pick", token_id=END)) == [A, END]


def test_every_step_can_be_set(begun: Act) -> None:
    for kind in STEPS.values():
        names = [field.name for field in fields(kind)]
        chain = chain_to_json([kind(**dict.fromkeys(names, 1))])
        assert begun("settings", chain=chain)["ok"]["table"]["chain"] == chain


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
    }
