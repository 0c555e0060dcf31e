"""A request whose answer was lost is asked again under its number, and not done twice."""

import pytest

from explorer.ui.store import SessionStore
from tests.ui.asking import OTHER_KEY, A, Act, B, FakeModels, session_of, token_ids, view

NUMBER = "00000000-0000-0000-0000-000000000001"
NEXT = "00000000-0000-0000-0000-000000000002"


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("step", {}),
        ("sample", {}),
        ("pick", {"token_id": B}),
        ("adopt", {"token_ids": [B, A]}),
    ],
)
def test_asked_again_it_is_shown_and_not_done(
    begun: Act, store: SessionStore, action: str, more: dict[str, object]
) -> None:
    first = begun(action, request=NUMBER, **more)
    done = session_of(store)
    again = begun(action, request=NUMBER, **more)
    assert session_of(store) is done
    assert token_ids(again) == token_ids(first)
    assert view(again)["rows"] == view(first)["rows"]


def test_undo_asked_again_takes_back_one(begun: Act, store: SessionStore) -> None:
    begun("step")
    one = session_of(store)
    begun("step")
    begun("undo", request=NUMBER)
    begun("undo", request=NUMBER)
    assert one is not None
    assert session_of(store).now == one.now  # type: ignore[union-attr]


def test_another_number_is_another_request(begun: Act) -> None:
    begun("step", request=NUMBER)
    once = token_ids(begun("step", request=NEXT))
    assert token_ids(begun("step")) != once


def test_a_number_counts_for_its_own_session(begun: Act) -> None:
    begun("step", request=NUMBER)
    assert "ok" in begun("ask", key=OTHER_KEY, prompt="a", request=NUMBER)
    before = token_ids(begun("open", key=OTHER_KEY))
    assert token_ids(begun("step", key=OTHER_KEY, request=NEXT)) != before


def test_what_failed_or_waited_can_be_done_under_its_number(
    begun: Act, models: FakeModels, store: SessionStore
) -> None:
    before = session_of(store)
    assert "error" in begun("pick", token_id=99, request=NUMBER)
    models.phase = "loading"
    assert "away" in begun("pick", token_id=B, request=NUMBER)["ok"]
    assert session_of(store) is before
    models.phase = "ready"
    assert token_ids(begun("pick", token_id=B, request=NUMBER))[-1] == B


def test_a_look_ahead_asked_again_goes_on(begun: Act) -> None:
    """Its numbers are totals: one level more than was seen does no harm, a missing table would."""
    begun("ahead", kind="beam", width=2, depth=4, length_penalty=1)
    for _ in range(2):
        assert "ahead" in begun("ahead_on", request=NUMBER)["ok"]


@pytest.mark.parametrize("number", ["", "1", 7, True, [], "0" * 35, "x" * 10**6])
def test_a_number_is_a_uuid(begun: Act, store: SessionStore, number: object) -> None:
    before = session_of(store)
    error = begun("step", request=number)["error"]
    assert error["code"] == "parameter" and error["facts"]["parameter"] == "request"
    assert len(error["message"]) < 500
    assert session_of(store) is before


def test_a_page_brings_back_its_own_session_with_a_model_that_has_left(
    begun: Act, models: FakeModels
) -> None:
    """A stranger's link may not have a model fetched; what this tab itself had may."""
    assert "ok" in begun("ask", prompt="a", model="chatty")
    link = begun("link")["ok"]["link"]
    models.phase = "idle"
    error = begun("load", link=link)["error"]
    assert error["code"] == "link_model"
    assert begun("load", link=link, own=True)["ok"]["status"]["model"] == "chatty"
    assert begun("load", link=link, own=1)["error"]["facts"]["parameter"] == "own"
    models.phase = "ready"
    assert "view" in begun("load", link=link, own=True)["ok"]
