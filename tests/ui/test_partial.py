"""The endpoints and the page on a server that sends its most probable tokens only."""

import math
from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.ui.actions import Actions
from explorer.ui.api import Api
from explorer.ui.store import SessionStore
from tests.ui.asking import KEY, FakeModels, view

SCRIPT = {(0,): [0.01, 0.4, 0.3, 0.2, 0.05, 0.04]}
WORDS = [b"x", b"a", b"b", b"c", b"d", b"e"]


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(small=ScriptedBackend(WORDS, SCRIPT, top_n=3, model_id="server"))


@pytest.fixture
def api(models: FakeModels) -> Api:
    return Api(models)


def ask(api: Api, chain: Any) -> dict[str, Any]:
    return api.next_tokens(prefix_ids=[0], chain=chain)


def test_the_model_itself_is_exact_beside_what_was_not_sent(api: Api) -> None:
    answer = ask(api, "pure")
    assert answer["coverage"] == pytest.approx(0.9)
    assert answer["entropy"] is None and answer["exact"] is True
    low, high = answer["entropy_bounds"]
    assert low < -sum(p * math.log(p) for p in SCRIPT[(0,)]) < high
    assert [row["probability"] for row in answer["rows"]] == pytest.approx([0.4, 0.3, 0.2])
    assert answer["other"] == {
        "count": 3,
        "raw_probability": pytest.approx(0.1),
        "probability": pytest.approx(0.1),
    }


def test_a_cut_among_what_was_sent_is_exact(api: Api) -> None:
    answer = ask(api, [{"step": "top_p", "p": 0.6}])
    assert answer["exact"] is True and "because" not in answer
    assert [row["probability"] for row in answer["rows"]] == pytest.approx([4 / 7, 3 / 7, 0])
    assert all("probability_low" not in row for row in answer["rows"])


def test_what_is_not_exact_has_bounds_around_the_truth(api: Api) -> None:
    chain = [{"step": "temperature", "temperature": 2.0}]
    answer = ask(api, chain)
    whole = Api(FakeModels(small=ScriptedBackend(WORDS, SCRIPT)))
    truth = {row["token_id"]: row["probability"] for row in ask(whole, chain)["rows"]}
    assert answer["exact"] is False
    assert answer["because"] == [{"number": 0, "step": "temperature", "reason": "tail_weight"}]
    for row in answer["rows"]:
        low, high = row["probability_low"], row["probability_high"]
        assert low <= truth[row["token_id"]] <= high and low <= row["probability"] <= high
    assert answer["other"]["probability_low"] < answer["other"]["probability_high"]


def test_a_draw_says_what_it_leaves_out(api: Api) -> None:
    token = api.generate(prefix_ids=[0], max_tokens=1)["tokens"][0]
    assert token["unsent"] == pytest.approx([0.1, 0.1]) and "probability_low" not in token
    hot = api.generate(prefix_ids=[0], max_tokens=1, chain=[{"step": "top_p", "p": 0.95}])
    token = hot["tokens"][0]
    assert token["probability_low"] <= token["probability"] <= token["probability_high"]


def test_a_text_with_a_token_that_was_not_sent_has_bounds(api: Api) -> None:
    answer = api.score(prefix_ids=[0, 5])
    assert answer["perplexity"] is answer["bits_per_byte"] is None
    assert (answer["unlisted"], answer["perplexity_at_least"]) == (1, None)
    known = api.score(prefix_ids=[0, 1])
    assert known["perplexity"] == pytest.approx(2.5) and "unlisted" not in known


def test_all_is_exact_where_all_was_sent() -> None:
    answer = ask(Api(FakeModels(small=ScriptedBackend(WORDS, SCRIPT))), "llama3")
    assert answer["exact"] is True
    assert answer["entropy_bounds"] == [answer["entropy"]] * 2


def test_the_page_learns_the_same(models: FakeModels) -> None:
    def act(action: str, **more: Any) -> dict[str, Any]:
        return actions.act({"action": action, "key": KEY, **more})

    actions = Actions(models, SessionStore())
    chain = [{"step": "temperature", "temperature": 2.0}]
    shown = view(act("ask", prompt="x", chain=chain))
    assert shown["summary"]["partial"]["exact"] is False
    assert shown["next_draw"]["unsent"][0] > 0
    assert "unlisted" not in shown["score"]
    after = view(act("pick", token_id=5))
    assert after["score"]["unlisted"] == 1
    part = after["chips"][-1]["parts"][0]
    assert part["rank"] is None and part["rank_beyond"] == 3


def test_numbers_that_depend_on_what_was_not_sent_are_called_estimates() -> None:
    def ask_page(*chain: dict[str, Any]) -> dict[str, Any]:
        return view(act("ask", prompt="x", chain=list(chain), with_ledger=True))

    def act(action: str, **more: Any) -> dict[str, Any]:
        return actions.act({"action": action, "key": KEY, **more})

    probabilities = [0.011, 0.412, 0.298, 0.193, 0.05, 0.036]
    server = ScriptedBackend(WORDS, {(0,): probabilities}, top_n=3, model_id="server")
    actions = Actions(FakeModels(small=server), SessionStore())
    hot = {"step": "temperature", "temperature": 2.0}
    nucleus, mirostat = {"step": "top_p", "p": 0.3}, {"step": "mirostat_v2", "tau": 1.0, "eta": 0.1}
    sharp = ask_page(nucleus)
    assert "estimate" not in str(sharp["stages"]) + str(sharp["ledger"])
    assert "estimate" not in str(act("change", token_id=2))
    flat = ask_page(hot, nucleus)
    assert flat["stages"][1]["estimate"] and flat["stages"][1]["ticks"]
    assert flat["ledger"]["curves"][1]["estimate"]
    assert flat["ledger"]["rows"][2]["miss"]["estimate"]
    assert act("change", token_id=2)["ok"]["change"]["survive"]["estimate"]
    assert "estimate" not in ask_page(mirostat)["dials"]
    assert ask_page(hot, mirostat)["dials"]["estimate"] is True
