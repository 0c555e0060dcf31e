"""Looking ahead, words and characters, as the page asks for them."""

import threading
from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.session import BeamSearch
from explorer.ui.actions import Actions
from explorer.ui.lab import MAX_PIN, MAX_PINS
from explorer.ui.store import SessionStore
from tests.ui.asking import END, HALF, KEY, A, Act, B, FakeModels, session_of, token_ids

BEAM = {"kind": "beam", "width": 2, "depth": 3, "length_penalty": 1.0}
COVER = {"kind": "cover", "share": 0.8, "depth": 2, "most_nodes": 50}


def look(act: Act, **more: Any) -> dict[str, Any]:
    """A whole look-ahead, asked for step by step."""
    answer = act("ahead", **more)
    while not answer["ok"]["ahead"]["done"]:
        answer = act("ahead_on")
    found: dict[str, Any] = answer["ok"]["ahead"]
    return found


def facts(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["error"]["facts"]
    return found


def test_each_request_goes_one_step_and_changes_nothing_else(begun: Act, store) -> None:
    before = session_of(store)
    first = begun("ahead", **BEAM)["ok"]["ahead"]
    assert (first["depth"], first["done"]) == (1, False)
    second = begun("ahead_on")["ok"]["ahead"]
    assert second["depth"] == 2
    after = session_of(store)
    assert before is not None and after is not None
    assert (after.now, after.past, after.future) == (before.now, before.past, before.future)


@pytest.mark.parametrize("more", [BEAM, COVER, {"kind": "greedy", "depth": 3}])
def test_what_is_found_can_be_adopted_and_undone(begun: Act, more: dict[str, Any]) -> None:
    found = look(begun, **more)["paths"][0]["token_ids"]
    assert token_ids(begun("adopt", token_ids=found, from_ahead=True)) == [A, *found]
    assert token_ids(begun("undo")) == [A]
    assert token_ids(begun("redo")) == [A, *found]


def test_a_sample_is_what_sampling_would_give(begun: Act) -> None:
    begun("settings", seed=7, chain="top_k")
    found = look(begun, kind="sample", depth=4)["paths"][0]["token_ids"]
    for _ in found:
        answer = begun("sample")
    assert token_ids(answer) == [A, *found]


def test_adopted_from_elsewhere_it_goes_back_to_where_it_began(begun: Act) -> None:
    found = look(begun, **BEAM)["paths"][0]["token_ids"]
    begun("pick", token_id=B)
    assert token_ids(begun("adopt", token_ids=found, from_ahead=True)) == [A, *found]
    assert token_ids(begun("adopt", token_ids=[B])) == [A, *found, B]


def test_another_prompt_has_no_place_for_it(begun: Act) -> None:
    found = look(begun, **BEAM)["paths"][0]["token_ids"]
    begun("ask", prompt=" b")
    assert begun("adopt", token_ids=found, from_ahead=True)["error"]["code"] == "ahead_gone"


@pytest.mark.parametrize(
    ("action", "more"),
    [("ahead_on", {}), ("adopt", {"token_ids": [A], "from_ahead": True})],
)
def test_without_a_look_ahead_it_says_so(begun: Act, action: str, more: dict[str, Any]) -> None:
    assert begun(action, **more)["error"]["code"] == "no_ahead"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("width", 17),
        ("width", 2.5),
        ("width", "2"),
        ("width", True),
        ("width", None),
        ("width", 10**40),
        ("depth", 0),
        ("depth", 51),
        ("length_penalty", float("nan")),
        ("length_penalty", 6),
        ("length_penalty", []),
        ("kind", "widest"),
        ("kind", ["beam"]),
        ("kind", None),
    ],
)
def test_a_beam_search_out_of_range_is_named(begun: Act, name: str, value: Any) -> None:
    assert facts(begun("ahead", **{**BEAM, name: value}))["parameter"] == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", 0), ("share", 1), ("share", None), ("depth", 51), ("most_nodes", 1001)],
)
def test_a_cover_out_of_range_is_named(begun: Act, name: str, value: Any) -> None:
    assert facts(begun("ahead", **{**COVER, name: value}))["parameter"] == name


@pytest.mark.parametrize("kind", ["greedy", "sample"])
@pytest.mark.parametrize("depth", [0, 51, "3", None, True])
def test_a_path_out_of_range_is_named(begun: Act, kind: str, depth: Any) -> None:
    assert facts(begun("ahead", kind=kind, depth=depth))["parameter"] == "depth"


@pytest.mark.parametrize("value", [[], [0] * 51, "0", None, [True], [1.0], [[0]]])
def test_what_is_adopted_is_a_list_of_token_ids(begun: Act, value: Any) -> None:
    assert facts(begun("adopt", token_ids=value))["parameter"].startswith("token_ids")


@pytest.mark.parametrize("token_id", [-1, 5, 10**30])
def test_adopted_tokens_are_in_the_vocabulary(begun: Act, token_id: int) -> None:
    assert facts(begun("adopt", token_ids=[token_id]))["parameter"] == "token_ids"


def test_there_is_no_room_beyond_the_context(begun: Act) -> None:
    assert begun("adopt", token_ids=[A] * 8)["error"]["code"] == "context_too_long"
    begun("adopt", token_ids=[A] * 7)
    assert begun("ahead", **BEAM)["error"]["code"] == "context_too_long"


def test_words_are_read_in_order(begun: Act) -> None:
    a, b = begun("words", words=["a", " b"])["ok"]["words"]
    assert (a["text"], a["first"]["rank"], a["spelled"]["raw"]) == ("a", 1, pytest.approx(0.4))
    assert (b["text"], b["first"]["rank"], b["begins"]["raw"]) == (" b", 2, pytest.approx(0.3))


def test_words_follow_the_rules(begun: Act) -> None:
    begun("settings", chain=[{"step": "top_k", "k": 1}])
    a, b = begun("words", words=["a", " b"])["ok"]["words"]
    assert (a["spelled"]["final"], b["spelled"]["final"]) == (pytest.approx(1.0), 0.0)
    assert b["first"]["cut_by"] == "top_k"


@pytest.mark.parametrize(
    "value", ["a", None, ["a"] * (MAX_PINS + 1), [""], ["a" * (MAX_PIN + 1)], [1], [None]]
)
def test_words_are_a_short_list_of_texts(begun: Act, value: Any) -> None:
    assert facts(begun("words", words=value))["parameter"] == "words"


def test_a_word_that_is_no_text_is_refused(begun: Act) -> None:
    assert begun("words", words=["\ud800"])["error"]["code"] == "text_not_encodable"


def test_characters_are_read_with_what_is_pending(begun: Act) -> None:
    rows = begun("characters")["ok"]["characters"]["rows"]
    assert [row["character"] for row in rows[:2]] == ["a", "␣"]
    begun("pick", token_id=HALF)
    characters = begun("characters")["ok"]["characters"]
    assert characters["pending"] == "⟨E3 81⟩"
    assert [row["character"] for row in characters["rows"]] == ["あ"]


@pytest.mark.parametrize("passes", [-1, 17, 1.5, "4", None, True])
def test_the_passes_of_the_lens_are_bounded(begun: Act, passes: Any) -> None:
    assert facts(begun("characters", passes=passes))["parameter"] == "passes"


def test_special_tokens_have_rows_of_their_own(begun: Act) -> None:
    begun("pick", token_id=B)  # what follows is uniform
    specials = begun("characters")["ok"]["characters"]["specials"]
    assert [one["token_id"] for one in specials] == [END]


def test_what_only_reads_waits_for_no_click(models: FakeModels, store: SessionStore) -> None:
    """A look beyond the table can take a while; a click in the meantime is not held up."""
    actions, reading, clicked = Actions(models, store), threading.Event(), threading.Event()
    actions.act({"action": "ask", "key": KEY, "prompt": "a"})
    small = models.backends["small"]

    class Slow(ScriptedBackend):
        def spelling(self) -> Any:
            reading.set()
            assert clicked.wait(10), "the click waited"
            return super().spelling()

    small.__class__ = Slow
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(
        target=lambda: answers.append(actions.act({"action": "characters", "key": KEY}))
    )
    thread.start()
    assert reading.wait(10)
    assert "ok" in actions.act({"action": "step", "key": KEY})
    clicked.set()
    thread.join(10)
    assert "ok" in answers[0]


def test_a_session_with_a_look_ahead_is_still_a_value(begun: Act, store) -> None:
    look(begun, **BEAM)
    session = session_of(store)
    assert session is not None and isinstance(session.ahead, BeamSearch)
    assert session == session and hash(session)
