"""The decoding lab's part of the page's answers, and its own requests."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from explorer.backends import ScriptedBackend
from explorer.decoding import (
    Constraint,
    Distribution,
    chain_from_json,
    chain_to_json,
    decode,
    uniform,
)
from explorer.session import Prompt, Session, read
from explorer.ui.actions import Actions
from explorer.ui.lab import LAB, MAX_ROLLS
from explorer.ui.payload import table_payload, view_payload
from explorer.ui.store import SessionStore
from tests.decoding.strategies import chains, extreme_chains, logit_lists
from tests.ui.asking import END, HALF, KEY, A, Act, B, FakeModels, session_of, token_ids, view

P5 = [0.4, 0.3, 0.2, 0.1, 0.0]
TOP_2 = [{"step": "top_k", "k": 2}]
XTC = [{"step": "xtc", "threshold": 0.15, "probability": 0.5}]
LAB_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("change", {"token_id": B}),
    ("roll", {"count": 100}),
    ("fall", {"u": 0.5}),
    ("encode", {"text": "a b"}),
    ("branches", {}),
    ("characters", {}),
    ("words", {"words": ["0", "a"]}),
]


class Given(ScriptedBackend):
    """Says the same logits everywhere."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__([b"%d " % i for i in range(len(logits))], context_length=200)
        self.said = Distribution.from_logits(logits)

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        return self.said


@pytest.fixture
def table(begun: Act) -> Callable[..., dict[str, Any]]:
    def table(**more: Any) -> dict[str, Any]:
        found: dict[str, Any] = begun("settings", **more)["ok"]["table"]
        return found

    return table


@settings(deadline=None, max_examples=60)
@given(logit_lists, chains | extreme_chains, st.integers(0, 2**64 - 1), st.integers(0, 4))
def test_every_payload_is_json(logits: list[float], chain: Any, seed: int, continued: int) -> None:
    chain = tuple(step for step in chain if not isinstance(step, Constraint))
    backend = Given(logits)
    session = Session.start("m", backend, Prompt("0 "), chain, seed)
    for _ in range(continued):
        session = session.sample(backend)
    if continued == 3:
        session = session.pick(backend, len(logits) - 1)
    reading = read(session, backend, 10)
    for with_ledger in (True, False):
        found = table_payload(reading, backend, with_ledger=with_ledger)
        assert (found["ledger"] is not None) == with_ledger
        json.dumps(found, allow_nan=False)
        shown = view_payload(
            reading,
            backend,
            with_ledger=with_ledger,
            with_tree=True,
            with_score=True,
            tree_known="",
            whole_strip=True,
        )
        json.dumps(shown, allow_nan=False)
    for name, (_, more) in zip(LAB, LAB_REQUESTS, strict=True):
        data = {**more, "token_id": len(logits) - 1, "text": "0 "}
        json.dumps(LAB[name](session, backend, data), allow_nan=False)


def test_numbers_that_a_float_hardly_holds(begun: Act, models: FakeModels) -> None:
    models.backends["sharp"] = Given([0.0, -36.0, -math.inf, -35.5])
    chain = [
        {"step": "temperature", "temperature": 0.05},
        {"step": "epsilon_cutoff", "epsilon": 0.0003},
    ]
    shown = view(begun("ask", model="sharp", prompt="0 ", chain=chain, with_ledger=True))
    assert shown["summary"]["kept"] == 1


def test_the_table_comes_with_stages_dice_and_dials(table: Callable[..., dict[str, Any]]) -> None:
    found = table(chain=TOP_2, seed=3)
    assert [(stage["step"], stage["kept"]) for stage in found["stages"]] == [("top_k", 2)]
    assert [one["token_id"] for one in found["next_draw"]["segments"]] == [A, B]
    assert found["next_draw"]["u"] == uniform(3, 1)
    assert found["dials"] is None
    assert found["tokens_in_chain"] == {}
    chain = [{"step": "banned_sequences", "sequences": [[HALF], [END, 77]]}]
    assert table(chain=chain)["tokens_in_chain"] == {"2": "⟨E3 81⟩", "4": "</s>"}


@pytest.mark.parametrize("action", ["open", "settings"])
def test_the_ledger_comes_when_it_is_asked_for(begun: Act, action: str) -> None:
    begun("settings", chain=TOP_2)
    found = next(iter(begun(action, with_ledger=True)["ok"].values()))
    assert [row["cut_at"] for row in found["ledger"]["rows"]] == [None, None, 0, 0, 0]
    assert len(found["ledger"]["rows"]) == len(found["rows"])
    assert found["ledger"]["rows"][2]["miss"]["had"] == 3
    for more in ({}, {"with_ledger": False}):
        assert next(iter(begun(action, **more)["ok"].values()))["ledger"] is None


def test_the_ledger_follows_the_rows_of_the_table(begun: Act) -> None:
    shown = view(begun("ask", prompt="a", chain=TOP_2, top_n=5, with_ledger=True))
    for row, entry in zip(shown["rows"], shown["ledger"]["rows"], strict=True):
        assert entry["probabilities"][0] == pytest.approx(row["raw_probability"])
        assert entry["probabilities"][-1] == pytest.approx(row["probability"])
        assert (entry["cut_at"] is None) == (row["cut_by"] is None)


def test_the_next_draw_becomes_the_last(begun: Act) -> None:
    for seed in range(12):
        shown = view(begun("ask", prompt="a", chain=XTC, seed=seed))
        assert shown["last_draw"] is None
        for _ in range(3):
            foretold = shown["next_draw"]
            shown = view(begun("sample"))
            assert shown["last_draw"] == foretold
            assert token_ids(begun("open"))[-1] == foretold["token_id"]


def test_the_coin_that_is_shown_is_the_one_that_falls(begun: Act) -> None:
    fired = 0
    for seed in range(60):
        shown = view(begun("ask", prompt="a", chain=XTC, seed=seed))
        (stage,) = shown["stages"]
        assert stage["coin"] == uniform(seed, 1, stream=1)
        assert stage["fires"] == (stage["coin"] < 0.5)
        fired += stage["fires"]
        # 0.4, 0.3 and 0.2 reach the threshold.
        kept = [one["token_id"] for one in shown["next_draw"]["segments"]]
        assert (A in kept) != stage["fires"]
        drawn_from = view(begun("sample"))["last_draw"]
        assert [one["token_id"] for one in drawn_from["segments"]] == kept
    assert 15 < fired < 45


def test_a_picked_token_has_no_last_draw(begun: Act) -> None:
    begun("sample")
    assert view(begun("pick", token_id=B))["last_draw"] is None
    assert view(begun("rewind", depth=1))["last_draw"] is not None


def test_the_dials_follow_the_path(begun: Act) -> None:
    chain = [{"step": "mirostat_v2", "tau": 1.5, "eta": 0.5}]
    shown = view(begun("ask", prompt="a", chain=chain))
    mus = [shown["dials"]["mu"]]
    assert mus == [3]
    for _ in range(4):
        mus.append(view(begun("sample"))["dials"]["mu"])
    shown = view(begun("open"))
    assert [one["mu"] for one in shown["dials"]["past"]] == mus[:-1]
    assert [one["next_mu"] for one in shown["dials"]["past"]] == mus[1:]
    assert view(begun("rewind", depth=2))["dials"]["mu"] == mus[2]
    assert view(begun("undo"))["dials"]["mu"] == mus[4]
    # Another target in the middle of the text goes on from here.
    moved = begun("settings", chain=[{**chain[0], "tau": 4}])["ok"]["table"]["dials"]
    assert (moved["mu"], moved["tau"]) == (mus[4], 4)


def test_what_would_let_a_token_survive(begun: Act, store: SessionStore) -> None:
    begun("settings", chain=[{"step": "top_k", "k": 1}, {"step": "top_p", "p": 0.1}])
    before = session_of(store)
    found = begun("change", token_id=HALF)["ok"]["change"]
    assert (found["token_id"], found["text"]) == (HALF, "⟨E3 81⟩")
    assert (found["survives"], found["alone_now"], found["alone"]) == (False, False, [])
    first, second = found["survive"]["changes"]
    assert first == {"number": 0, "step": "top_k", "parameter": "k", "old": 1, "new": 3}
    # 0.4 and 0.3 of 0.9 stand before it.
    assert (second["step"], second["old"], second["new"]) == ("top_p", 0.1, 0.78)
    assert session_of(store) is before
    chain = found["survive"]["chain"]
    rows = begun("settings", chain=chain)["ok"]["table"]["rows"]
    assert {row["token_id"] for row in rows if row["cut_by"] is None} == {A, B, HALF}


def test_what_would_leave_a_token_alone(begun: Act) -> None:
    begun("settings", chain=[{"step": "min_p", "min_p": 0.1}])
    found = begun("change", token_id=A)["ok"]["change"]
    assert (found["survives"], found["alone_now"]) == (True, False)
    assert found["survive"]["changes"] == []
    assert [one["changes"][0]["step"] for one in found["alone"]] == ["min_p", "top_k"]
    for one in found["alone"]:
        kept = decode(np.log(P5[:4]), chain_from_json(one["chain"])).final
        assert kept.token_ids.tolist() == [A]


def test_a_token_that_is_alone_already(begun: Act) -> None:
    begun("settings", chain="greedy")
    found = begun("change", token_id=A)["ok"]["change"]
    assert (found["survives"], found["alone_now"], found["alone"]) == (True, True, [])
    assert begun("change", token_id=B)["ok"]["change"]["alone_now"] is False


def test_what_a_change_offers_can_be_set(begun: Act) -> None:
    for preset in ("llama3", "llama_cpp", "mirostat", "greedy", "transformers"):
        begun("settings", chain=preset)
        for token_id in range(5):
            found = begun("change", token_id=token_id)["ok"]["change"]
            for one in (found["survive"], *found["alone"]):
                told = begun("settings", chain=one["chain"])["ok"]["table"]["chain"]
                assert told == one["chain"] == chain_to_json(chain_from_json(one["chain"]))
                begun("settings", chain=preset)


def test_nothing_is_known_of_a_token_that_a_server_did_not_send(store: SessionStore) -> None:
    class Partial(ScriptedBackend):
        def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
            return Distribution(np.array([0, 2]), np.log([0.6, 0.2]), 0.8, self.info.vocab_size)

    actions = Actions(FakeModels(small=Partial([b"a", b"b", b"c"])), store)
    asked = actions.act({"action": "ask", "key": KEY, "prompt": "a", "with_ledger": True})
    json.dumps(asked, allow_nan=False)
    before = session_of(store)
    error = actions.act({"action": "change", "key": KEY, "token_id": 1})["error"]
    assert (error["code"], error["facts"]) == ("token_not_known", {"token_id": 1})
    assert session_of(store) is before
    assert "ok" in actions.act({"action": "change", "key": KEY, "token_id": 2})


def test_rolling_the_dice_asks_no_model(begun: Act, models: FakeModels) -> None:
    begun("settings", chain=TOP_2)
    forwards = models.backends["small"].forwards
    found = begun("roll", count=7000, seed=1)["ok"]["roll"]
    assert models.backends["small"].forwards == forwards
    assert found["count"] == sum(row["observed"] for row in found["rows"]) == 7000
    assert [row["expected"] for row in found["rows"]] == pytest.approx([4000, 3000])
    observed = [row["observed"] for row in found["rows"]]
    assert found["chi_square"]["p_value"] == pytest.approx(
        stats.chisquare(observed, [4000, 3000]).pvalue
    )
    assert begun("roll", count=7000, seed=1)["ok"]["roll"] == found
    assert begun("roll", count=7000, seed=2)["ok"]["roll"] != found


def test_a_roll_is_of_a_thousand_with_the_sessions_seed(begun: Act) -> None:
    begun("settings", seed=17)
    found = begun("roll")["ok"]["roll"]
    assert found["count"] == 1000
    assert found == begun("roll", count=1000, seed=17, which="next")["ok"]["roll"]
    assert begun("roll", count=MAX_ROLLS)["ok"]["roll"]["count"] == MAX_ROLLS


def test_the_dice_of_the_last_draw_are_those_it_was_drawn_with(begun: Act) -> None:
    begun("settings", chain=TOP_2)
    begun("sample")
    begun("settings", chain=[])
    found = begun("roll", which="last", count=700)["ok"]["roll"]
    assert [row["expected"] for row in found["rows"]] == pytest.approx([400, 300])
    fell = begun("fall", which="last", u=0.99)["ok"]["fall"]
    assert (fell["token_id"], fell["place"]) == (B, 2)
    # After it, the model knows nothing better than a fair die with five sides.
    assert begun("fall", which="next", u=0.99)["ok"]["fall"]["place"] == 5


@pytest.mark.parametrize(
    ("u", "token_id", "place"), [(0, A, 1), (0.39, A, 1), (0.41, B, 2), (0.69, B, 2), (0.95, 3, 4)]
)
def test_where_another_u_falls(begun: Act, u: float, token_id: int, place: int) -> None:
    fell = begun("fall", u=u)["ok"]["fall"]
    assert (fell["token_id"], fell["place"]) == (token_id, place)
    assert fell["probability"] == pytest.approx(P5[token_id])


def test_a_word_as_tokens(begun: Act) -> None:
    found = begun("encode", text="a b")["ok"]["encode"]
    assert found == {
        "text": "a b",
        "tokens": [{"token_id": A, "text": "a"}, {"token_id": B, "text": "␣b"}],
    }
    assert len(begun("encode", text="a" * 1000)["ok"]["encode"]["tokens"]) == 1000


def test_a_word_has_no_beginning_of_text(begun: Act) -> None:
    begun("ask", model="chatty", prompt="a")
    assert token_ids(begun("open")) == [END, A]
    tokens = begun("encode", text="a")["ok"]["encode"]["tokens"]
    assert [token["token_id"] for token in tokens] == [A]


@pytest.mark.parametrize(("action", "more"), LAB_REQUESTS)
def test_the_lab_leaves_the_session_alone(
    begun: Act, store: SessionStore, action: str, more: dict[str, Any]
) -> None:
    begun("sample")
    before = session_of(store)
    assert list(begun(action, **more)["ok"]) == [action]
    assert session_of(store) is before


@pytest.mark.parametrize(("action", "more"), LAB_REQUESTS)
def test_the_lab_without_a_session(act: Act, action: str, more: dict[str, Any]) -> None:
    assert act(action, **more)["error"]["code"] == "session_gone"


def test_every_request_of_the_lab_is_tried_here() -> None:
    assert list(LAB) == [action for action, _ in LAB_REQUESTS]
