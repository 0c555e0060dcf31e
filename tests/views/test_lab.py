"""What the decoding lab shows, against the rules themselves and as strict JSON."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from explorer.backends import ScriptedBackend
from explorer.decoding import (
    BannedSequences,
    Chain,
    Constraint,
    Distribution,
    Dry,
    EpsilonCutoff,
    LogitBias,
    MinP,
    MirostatV1,
    MirostatV2,
    Stage,
    Temperature,
    TopK,
    TopNSigma,
    TopP,
    Trace,
    Xtc,
    chain_from_json,
    decode,
    draw,
    roll,
    to_be_alone,
    to_survive,
    uniform,
)
from explorer.session import Prompt, Session, read_candidates
from explorer.ui.payload import texts_of
from explorer.views import lab
from tests.decoding.strategies import Only, chains, extreme_chains, logit_lists

A, B, C, D = range(4)
P4 = [0.4, 0.3, 0.2, 0.1]


class Given(ScriptedBackend):
    """Says the same logits everywhere."""

    def __init__(self, logits: ArrayLike, **more: Any) -> None:
        values = np.asarray(logits, dtype=np.float64)
        super().__init__([b"%d " % i for i in range(len(values))], **more)
        self.said = Distribution.from_logits(values)

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        return self.said


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend([b"a", b" b", b"\xe3", b"</s>"], {(A,): P4}, special=[D])


def start(backend: ScriptedBackend, chain: Chain = (), seed: int = 0) -> Session:
    return Session.start("m", backend, Prompt("a"), chain, seed)


def strict(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


def shown_stages(session: Session, backend: ScriptedBackend) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = strict(
        lab.stages(session.trace(backend), session, texts_of(backend)),
    )
    return found


@settings(deadline=None)
@given(logit_lists, chains | extreme_chains, st.integers(0, 2**64 - 1), st.data())
def test_everything_is_json_whatever_the_logits_and_the_chain(
    logits: list[float], chain: Chain, seed: int, data: st.DataObject
) -> None:
    backend = Given(logits)
    trace = decode(backend.said, chain, (0,))
    session = Session.start("m", backend, Prompt("0 "), (), seed)
    candidates = read_candidates(backend, trace, 10)[1]
    shown = strict(lab.stages(trace, session, texts_of(backend)))
    assert [stage["kept"] for stage in shown] == [len(stage.kept) for stage in trace.stages]
    ledger = strict(lab.ledger_data(trace, candidates))
    assert len(ledger["rows"]) == len(candidates)
    assert len(ledger["curves"]) == len(chain)
    u = data.draw(st.floats(0, 1, exclude_max=True))
    assert strict(lab.dice(trace, u, texts_of(backend)))["token_id"] == draw(trace, u)
    strict(lab.rolls_data(trace, roll(trace, 100, seed), texts_of(backend)))
    strict(lab.dials(session, trace, texts_of(backend)))
    strict(lab.tokens_in(chain, backend.info.vocab_size, texts_of(backend)))
    token_id = data.draw(st.integers(0, len(logits) - 1))
    for found in (to_survive(trace, token_id, (0,)), *to_be_alone(trace, token_id, (0,))):
        strict(lab.alternative(found))


@pytest.mark.parametrize(
    "chain",
    [
        (Temperature(0.05), EpsilonCutoff(0.0003)),
        (Temperature(0.05), MinP(0.1), MinP(0.5)),
        (Temperature(0.05), TopNSigma(1), TopP(1)),
        (Constraint(regex="x").bound(Only((2,))), MirostatV2(3, 0.1)),
        (MirostatV2(3, 0.1), TopP(0), MinP(1)),
    ],
    ids=repr,
)
def test_numbers_at_the_end_of_what_a_float_holds_are_json(chain: Chain) -> None:
    # 36 / 0.05 is a probability of e^-720, which a float barely holds.
    backend = Given([0.0, -36.0, -math.inf, -2.0, -35.5])
    trace = decode(backend.said, chain)
    strict(lab.stages(trace, Session.start("m", backend, Prompt("0 ")), texts_of(backend)))
    strict(lab.ledger_data(trace, read_candidates(backend, trace, 5)[1]))
    strict(lab.dice(trace, 0.5, texts_of(backend)))
    strict(lab.dials(Session.start("m", backend, Prompt("0 ")), trace, texts_of(backend)))
    for token_id in range(5):
        for found in (to_survive(trace, token_id), *to_be_alone(trace, token_id)):
            strict(lab.alternative(found))


def test_a_stage_for_each_rule(backend: ScriptedBackend) -> None:
    found = shown_stages(start(backend, (TopK(3), Temperature(0.5), MinP(0.5))), backend)
    assert [(one["step"], one["kept"], one["cut"], one["parameter"]) for one in found] == [
        ("top_k", 3, 1, "k"),
        ("temperature", 3, 0, None),
        ("min_p", 2, 1, "min_p"),  # 16, 9 and 4: a quarter is below the half
    ]
    assert [
        (tick["value"], tick["token_id"], tick["text"], tick["kept"], tick["past"])
        for tick in found[0]["ticks"]
    ] == [(2, B, "␣b", True, 1), (3, C, "⟨E3⟩", True, 2), (4, D, "</s>", False, 4)]
    assert found[1]["ticks"] == []
    assert "coin" not in found[0]
    assert "fit" not in found[0]


def test_the_coin_that_is_shown_is_the_one_that_falls(backend: ScriptedBackend) -> None:
    chain = (TopK(4), Xtc(0.15, 0.5), Xtc(0.05, 0.3))
    for seed in range(60):
        session = start(backend, chain, seed)
        first, second = shown_stages(session, backend)[1:]
        assert first["coin"] == uniform(seed, 1, stream=2)
        assert second["coin"] == uniform(seed, 1, stream=3)
        choice = session.sample(backend).now.tree.path[0].choice
        assert choice is not None
        assert choice.chain == (
            TopK(4),
            Xtc(0.15, float(first["fires"])),
            Xtc(0.05, float(second["fires"])),
        )


@pytest.mark.parametrize(("probability", "fires"), [(0.0, False), (1.0, True), (1, True)])
def test_a_sure_coin(backend: ScriptedBackend, probability: float, fires: bool) -> None:
    for seed in range(20):
        (found,) = shown_stages(start(backend, (Xtc(0.15, probability),), seed), backend)
        assert found["fires"] is fires


def test_how_the_text_stands_to_a_constraint(backend: ScriptedBackend) -> None:
    session = start(backend, (Constraint(regex="a b"),))
    fits = []
    for token_id in (None, A, B, A):
        session = session if token_id is None else session.pick(backend, token_id)
        fits.append(shown_stages(session, backend)[0]["fit"])
    assert fits == ["open", "open", "complete", "broken"]


def test_an_unbound_constraint_has_no_fit(backend: ScriptedBackend) -> None:
    said = backend.next_distribution((A,))
    stage = Stage(Constraint(regex="x"), said.candidates, said.candidates)
    assert "fit" not in lab.stages(Trace(said, (stage,)), start(backend), texts_of(backend))[0]


def test_the_ledger_has_the_rows_of_the_table_in_its_order(backend: ScriptedBackend) -> None:
    trace = start(backend, (TopP(0.8), MinP(0.9))).trace(backend)
    candidates = read_candidates(backend, trace, 3)[1]
    found = lab.ledger_data(trace, candidates)
    assert [candidate.ranked.token_id for candidate in candidates] == [A, B, C]
    assert [row["cut_at"] for row in found["rows"]] == [None, 1, 1]
    assert [row["probabilities"] for row in found["rows"]] == [
        pytest.approx([0.4, 4 / 9, 1]),
        pytest.approx([0.3, 3 / 9, 0]),
        pytest.approx([0.2, 2 / 9, 0]),
    ]
    assert found["rows"][0]["miss"] is None
    assert found["rows"][1]["miss"] == {
        "quantity": "probability",
        "keeps": "at_least",
        "needed": pytest.approx(0.4),
        "had": pytest.approx(3 / 9),
    }
    curve = found["curves"][0]
    assert curve["ranks"] == [1, 2, 3, 4]
    assert curve["values"] == pytest.approx([0, 0.4, 0.7, 0.9])
    assert (curve["line"], curve["quantity"], curve["keeps"]) == (0.8, "mass_before", "below")
    assert curve["kept"] == 3


def test_a_rule_without_a_number_has_no_curve_and_no_miss(backend: ScriptedBackend) -> None:
    trace = start(backend, (BannedSequences([[A]]), Temperature(2))).trace(backend)
    found = lab.ledger_data(trace, read_candidates(backend, trace, 4)[1])
    assert found["curves"] == [None, None]
    assert [(row["cut_at"], row["miss"]) for row in found["rows"]] == [(None, None)] * 3 + [
        (0, None)
    ]


def test_what_is_infinite_is_unknown() -> None:
    backend = Given([0.0, -1.0, -math.inf])
    trace = decode(backend.said, [TopNSigma(0.5)])
    found = lab.ledger_data(trace, read_candidates(backend, trace, 3)[1])
    assert found["rows"][2]["miss"]["had"] is None
    assert found["curves"][0]["values"] == [0, -1, None]


def test_the_strip_of_a_draw(backend: ScriptedBackend) -> None:
    trace = start(backend, (TopK(3),)).trace(backend)
    found = lab.dice(trace, 0.5, texts_of(backend))
    assert [one["text"] for one in found["segments"]] == ["a", "␣b", "⟨E3⟩"]
    assert [one["high"] for one in found["segments"]] == pytest.approx([4 / 9, 7 / 9, 1])
    assert (found["u"], found["others"]) == (0.5, 0)
    assert (found["token_id"], found["text"], found["place"]) == (B, "␣b", 2)
    assert found["probability"] == pytest.approx(3 / 9)


def test_the_strip_of_many_leaves_a_rest() -> None:
    backend = Given(np.zeros(100))
    trace = decode(backend.said, [])
    found = lab.dice(trace, 0.995, texts_of(backend))
    assert (len(found["segments"]), found["others"]) == (lab.STRIP_SEGMENTS, 40)
    assert found["segments"][-1]["high"] == pytest.approx(0.6)
    assert (found["token_id"], found["place"]) == (99, 100)


def test_where_another_u_falls(backend: ScriptedBackend) -> None:
    trace = start(backend).trace(backend)
    for u, token_id, place in ((0, A, 1), (0.39, A, 1), (0.41, B, 2), (0.95, D, 4)):
        found = lab.fallen(trace, u, texts_of(backend))
        assert (found["token_id"], found["place"]) == (token_id, place)
        assert found["probability"] == pytest.approx(P4[token_id])


def test_rolls_beside_what_was_expected(backend: ScriptedBackend) -> None:
    trace = start(backend).trace(backend)
    rolls = roll(trace, 1000, 5)
    found = lab.rolls_data(trace, rolls, texts_of(backend))
    assert [row["text"] for row in found["rows"]] == ["a", "␣b", "⟨E3⟩", "</s>"]
    assert [row["observed"] for row in found["rows"]] == rolls.observed.tolist()
    assert [row["expected"] for row in found["rows"]] == pytest.approx([400, 300, 200, 100])
    assert (found["count"], found["others"]) == (1000, None)
    assert rolls.test is not None
    assert found["chi_square"] == {
        "statistic": rolls.test.statistic,
        "degrees_of_freedom": 3,
        "p_value": rolls.test.p_value,
    }


def test_rolls_beyond_the_rows_are_put_together(backend: ScriptedBackend) -> None:
    trace = start(backend).trace(backend)
    rolls = roll(trace, 1000, 5)
    found = lab.rolls_data(trace, rolls, texts_of(backend), rows=1)
    assert len(found["rows"]) == 1
    assert found["others"]["count"] == 3
    assert found["others"]["observed"] == 1000 - rolls.observed[0]
    assert found["others"]["expected"] == pytest.approx(600)


def test_rolls_of_a_sure_outcome_have_no_test(backend: ScriptedBackend) -> None:
    trace = start(backend, (TopK(1),)).trace(backend)
    assert lab.rolls_data(trace, roll(trace, 10, 0), texts_of(backend))["chi_square"] is None


def test_no_dials_without_mirostat(backend: ScriptedBackend) -> None:
    session = start(backend, (TopK(2), Temperature(0.5)))
    assert lab.dials(session, session.trace(backend), texts_of(backend)) is None


def test_the_dials_of_mirostat(backend: ScriptedBackend) -> None:
    session = start(backend, (TopK(3), MirostatV2(0.9, 0.5)), seed=1)
    found = lab.dials(session, session.trace(backend), texts_of(backend))
    # 1.8 bits are a probability of 0.287; the three have 4, 3 and 2 ninths.
    assert found is not None
    assert (found["step"], found["tau"], found["mu"]) == ("mirostat_v2", 0.9, 1.8)
    assert (found["kept"], found["of"], found["past"]) == (2, 3, [])
    assert found["cut"] == pytest.approx(2**-1.8)
    assert found["entropy"] == pytest.approx(-4 / 7 * math.log2(4 / 7) - 3 / 7 * math.log2(3 / 7))
    there = session.pick(backend, B)
    found = lab.dials(there, there.trace(backend), texts_of(backend))
    assert found is not None
    surprise = -math.log2(3 / 7)
    (past,) = found["past"]
    assert (past["position"], past["text"], past["kept"], past["mu"]) == (1, "␣b", 2, 1.8)
    assert past["surprise"] == pytest.approx(surprise)
    assert past["error"] == pytest.approx(surprise - 0.9)
    assert past["next_mu"] == found["mu"] == pytest.approx(1.8 - 0.5 * (surprise - 0.9))


def test_the_dials_of_v1_and_of_tokens_that_no_mirostat_saw(backend: ScriptedBackend) -> None:
    session = start(backend).pick(backend, B)
    with_v1 = Session(session.now, (MirostatV1(1, 0.1),), 0).sample(backend).sample(backend)
    found = lab.dials(with_v1, with_v1.trace(backend), texts_of(backend))
    assert found is not None
    assert found["step"] == "mirostat_v1"
    assert found["cut"] == found["kept"]
    assert [one["position"] for one in found["past"]] == [2, 3]


def test_only_the_last_tokens_of_a_long_path_have_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "DIAL_STEPS", 3)
    backend = Given([1.0, 0.0])
    session = Session.start("m", backend, Prompt("0 "), (MirostatV2(1, 0.1),))
    for _ in range(5):
        session = session.sample(backend)
    found = lab.dials(session, session.trace(backend), texts_of(backend))
    assert found is not None
    assert [one["position"] for one in found["past"]] == [3, 4, 5]


def test_a_change_and_the_chain_with_it(backend: ScriptedBackend) -> None:
    trace = start(backend, (TopK(1), BannedSequences([[C]]))).trace(backend)
    found = strict(lab.alternative(to_survive(trace, C)))
    assert found["changes"] == [
        {"number": 0, "step": "top_k", "parameter": "k", "old": 1, "new": 3},
        {"number": 1, "step": "banned_sequences", "parameter": None, "old": None, "new": None},
    ]
    assert chain_from_json(found["chain"]) == (TopK(3),)


def test_the_tokens_that_a_chain_names(backend: ScriptedBackend) -> None:
    chain = (
        LogitBias({A: 1.0, 10**6: 2.0}),
        BannedSequences([[B, 99], [D]]),
        Dry(1.0, breakers=(C,)),
        TopK(3),
    )
    assert lab.tokens_in(chain, backend.info.vocab_size, texts_of(backend)) == {
        "0": "a",
        "1": "␣b",
        "2": "⟨E3⟩",
        "3": "</s>",
    }
    assert lab.tokens_in((TopK(3),), backend.info.vocab_size, texts_of(backend)) == {}
    assert lab.tokens_in(
        (Dry(1.0, breakers=(C,)),), backend.info.vocab_size, texts_of(backend)
    ) == {"2": "⟨E3⟩"}
