"""What a server did not send: bounds that hold for whatever it kept back, and what is exact."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    BannedSequences,
    Candidates,
    Chain,
    Constraint,
    Distribution,
    Doubt,
    Dry,
    DynamicTemperature,
    EpsilonCutoff,
    EtaCutoff,
    FrequencyPresencePenalty,
    Greedy,
    LogitBias,
    MinP,
    MirostatV1,
    MirostatV2,
    PLess,
    QuadraticSmoothing,
    RepetitionPenalty,
    TailFree,
    Temperature,
    TopA,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    Trace,
    Typical,
    Xtc,
    decode,
    draw,
)
from explorer.decoding.knowledge import Knowledge
from explorer.decoding.tail import NO_TAIL, Tail
from tests.decoding.partial import both, sent
from tests.decoding.strategies import (
    Only,
    chains,
    contexts,
    extreme_chains,
    normal_logits,
    steps,
    tie_free_logits,
)

thorough = settings(max_examples=150, deadline=None)


def check(truth: Trace, trace: Trace) -> None:
    certainty, ids = trace.certainty, trace.distribution.token_ids
    final = truth.probabilities[ids]
    assert certainty.lowest is not None and certainty.highest is not None
    assert (certainty.lowest <= final + 1e-9).all()
    assert (final <= certainty.highest + 1e-9).all()
    assert certainty.unsent[0] - 1e-9 <= 1 - final.sum() <= certainty.unsent[1] + 1e-9
    low, high = trace.entropy_bounds
    assert low - 1e-9 <= truth.final.entropy
    assert high is None or truth.final.entropy <= high + 1e-9
    shown = trace.probabilities[ids]
    for stage in trace.stages:
        assert stage.known is not None
        if len(stage.known.token_ids):
            sure = stage.known.token_ids[stage.known.must]
            assert set(sure) & set(ids) <= set(stage.kept.token_ids) <= set(stage.known.token_ids)
    assert (certainty.lowest - 1e-9 <= shown).all() or not certainty.exact
    if certainty.exact:
        assert shown == pytest.approx(final, abs=2e-9)
    low, high = trace.distribution.entropy_bounds
    entropy = truth.distribution.entropy
    assert entropy is not None and low - 1e-9 <= entropy
    assert high is None or entropy <= high + 1e-9


@thorough
@given(tie_free_logits, st.floats(0, 1), chains, contexts, st.booleans())
def test_the_truth_lies_within_the_bounds(
    logits: NDArray[np.float64], part: float, chain: Chain, context: tuple[int, ...], known: bool
) -> None:
    check(*both(logits, part, chain, context, known))


@thorough
@given(tie_free_logits, st.floats(0, 1), steps, contexts, st.booleans())
def test_the_truth_lies_within_the_bounds_of_each_rule(
    logits: NDArray[np.float64], part: float, step: Any, context: tuple[int, ...], known: bool
) -> None:
    check(*both(logits, part, (step,), context, known))


@settings(max_examples=100, deadline=None)
@given(tie_free_logits, st.floats(0, 1), extreme_chains, contexts, st.booleans())
def test_bounds_are_bounds_at_the_ends_of_every_range(
    logits: NDArray[np.float64], part: float, chain: Chain, context: tuple[int, ...], known: bool
) -> None:
    _, trace = both(logits, part, chain, context, known)
    lowest, highest = trace.certainty.lowest, trace.certainty.highest
    assert lowest is not None and highest is not None
    assert ((lowest >= 0) & (lowest <= highest) & (highest <= 1)).all()
    assert np.isfinite(trace.probabilities).all()


# Four of ten tokens, 0.9 of the mass: the six others hold 0.1, and each at most 0.1.
FOUR = Distribution(np.array([7, 2, 4, 9]), np.log([0.4, 0.3, 0.1, 0.1]), 0.9, 10)


def reasons(trace: Trace) -> list[tuple[int, str]]:
    return [(doubt.number, doubt.reason) for doubt in trace.certainty.because]


@pytest.mark.parametrize(
    ("chain", "final"),
    [
        ((), [0.4, 0.3, 0.1, 0.1]),
        ((TopK(2),), [4 / 7, 3 / 7, 0, 0]),
        ((TopK(4),), [4 / 9, 3 / 9, 1 / 9, 1 / 9]),
        ((TopK(0), TopP(1.0), MinP(0), TopA(0), EpsilonCutoff(0)), [0.4, 0.3, 0.1, 0.1]),
        ((TopP(0.6),), [4 / 7, 3 / 7, 0, 0]),
        ((TopP(0),), [1, 0, 0, 0]),
        ((Greedy(),), [1, 0, 0, 0]),
        ((Temperature(0),), [1, 0, 0, 0]),
        ((MinP(0.5),), [4 / 7, 3 / 7, 0, 0]),
        ((EpsilonCutoff(0.2),), [4 / 7, 3 / 7, 0, 0]),
        ((TopA(1.0),), [4 / 7, 3 / 7, 0, 0]),
        ((MirostatV2(1.0, 0.1),), [4 / 7, 3 / 7, 0, 0]),
        ((MirostatV2(1.0, 0.1, mu=-1.0),), [1, 0, 0, 0]),
        ((Xtc(0.2),), [0, 0.5, 1 / 6, 1 / 6]),
        ((Xtc(0.35),), [0.4, 0.3, 0.1, 0.1]),
        ((Xtc(0.6),), [0.4, 0.3, 0.1, 0.1]),
        ((Temperature(2.0), TopK(1)), [1, 0, 0, 0]),
        ((TopNSigma(1.0), Greedy()), [1, 0, 0, 0]),
        ((BannedSequences([[7]]),), [0, 0.5, 1 / 6, 1 / 6]),
        ((Temperature(1.0), TopNSigma(0), Typical(1.0), TailFree(1.0)), [0.4, 0.3, 0.1, 0.1]),
        ((QuadraticSmoothing(0), DynamicTemperature(1, 1)), [0.4, 0.3, 0.1, 0.1]),
        ((TopK(2), Typical(0.5)), [1, 0, 0, 0]),
        ((EtaCutoff(0.3),), [4 / 7, 3 / 7, 0, 0]),  # whatever the entropy is
        ((PLess(),), [4 / 7, 3 / 7, 0, 0]),
    ],
)
def test_what_is_exact(chain: Chain, final: list[float]) -> None:
    trace = decode(FOUR, chain)
    assert trace.certainty.exact and trace.certainty.because == ()
    assert trace.probabilities[FOUR.token_ids] == pytest.approx(final)
    assert trace.certainty.lowest == pytest.approx(final)
    assert trace.at_least == pytest.approx([share for share in final if share])
    assert trace.certainty.unsent == pytest.approx((1 - sum(final),) * 2, abs=1e-12)
    assert trace.certainty.of(0) is None


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ((TopK(6),), "line_beyond"),
        ((TopP(0.95),), "line_beyond"),
        ((MinP(0.1),), "line_beyond"),
        ((EpsilonCutoff(0.05),), "line_beyond"),
        ((MirostatV2(5.0, 0.1),), "line_beyond"),
        ((Xtc(0.05),), "line_beyond"),
        ((Temperature(0.5),), "tail_weight"),
        ((Temperature(2.0),), "tail_weight"),
        ((QuadraticSmoothing(0.5),), "tail_weight"),
        ((QuadraticSmoothing(0.5, 5.0),), "tail_weight"),
        ((BannedSequences([[0]]),), "names_unsent"),
        ((LogitBias({0: 2.0}),), "names_unsent"),
        ((LogitBias({0: -math.inf}),), "names_unsent"),
        ((FrequencyPresencePenalty(1.0),), "names_unsent"),
        ((Constraint(regex="x").bound(Only((7, 2, 0))),), "names_unsent"),
        ((EtaCutoff(0.1),), "whole_vocabulary"),
        ((Typical(0.5),), "whole_vocabulary"),
        ((TopNSigma(1.0),), "whole_vocabulary"),
        ((TailFree(0.5),), "whole_vocabulary"),
        ((TopH(0.5),), "whole_vocabulary"),
        ((MirostatV1(1.0, 0.1),), "whole_vocabulary"),
        ((DynamicTemperature(0.5, 1.5),), "whole_vocabulary"),
    ],
)
def test_what_is_not_exact_and_why(chain: Chain, reason: str) -> None:
    trace = decode(FOUR, chain, (0, 0))
    assert not trace.certainty.exact
    assert reasons(trace) == [(0, reason)]
    assert trace.certainty.of(0) is not None


def test_a_repetition_penalty_acts_on_log_probabilities() -> None:
    trace = decode(FOUR, (RepetitionPenalty(2.0), Greedy()), (7,))
    assert trace.final.token_ids.tolist() == [2]  # 0.4 has become 0.16
    assert trace.certainty.exact
    assert trace.certainty.because == (Doubt(0, "log_probabilities"),)
    assert decode(FOUR, (RepetitionPenalty(2.0),), ()).certainty.because == ()
    whole = Distribution(np.arange(2), np.log([0.6, 0.4]), true_logits=False)
    certainty = decode(whole, (RepetitionPenalty(2.0),), (0,)).certainty
    assert (certainty.exact, certainty.lowest) == (True, None)
    assert certainty.because == (Doubt(0, "log_probabilities"),)
    assert decode(np.zeros(2), (RepetitionPenalty(2.0),), (0,)).certainty.because == ()


def test_a_hidden_token_may_rise_above_all_that_were_sent() -> None:
    certainty = decode(FOUR, (FrequencyPresencePenalty(presence=5.0),), (7, 2, 4, 9)).certainty
    assert certainty.unsent[0] > 0.9
    raised = decode(FOUR, (LogitBias({0: 5.0}), Greedy())).certainty
    assert raised.of(0) == (0.0, 1.0)  # 7, or 0


def test_what_stays_when_all_that_was_sent_is_banned() -> None:
    trace = decode(FOUR, (BannedSequences([[7], [2], [4], [9]]),))
    assert not trace.certainty.exact
    assert trace.certainty.of(0) == (0.0, 0.0)  # shown, since something must be
    assert trace.certainty.unsent == (1.0, 1.0)
    all_of_it = decode(FOUR, (BannedSequences([[one] for one in range(10)]),))
    assert not all_of_it.certainty.exact  # the most probable stays


def test_a_grammar_that_allows_no_hidden_token_leaves_no_doubt() -> None:
    trace = decode(FOUR, (Constraint(regex="x").bound(Only((7, 4))),))
    assert trace.certainty.exact and trace.certainty.unsent == (0.0, 0.0)
    assert trace.probabilities[[7, 4]] == pytest.approx([0.8, 0.2])
    whole = decode(FOUR, (Constraint(regex="x").bound(Only(tuple(range(10)))),))
    assert whole.certainty.exact and whole.certainty.unsent == pytest.approx((0.1, 0.1))
    broken = decode(FOUR, (Constraint(regex="x").bound(Only((7,), "broken")),))
    assert broken.certainty.unsent == pytest.approx((0.1, 0.1))


def test_a_hundred_tokens_are_enough_for_the_rules_that_look_at_no_more() -> None:
    whole = Distribution.from_logits(-1.2 * np.log(np.arange(1, 1001)))
    part = sent(whole, 150, size_known=True)
    for step in (MirostatV1(1.5, 0.1), TopH(0.5)):
        truth, trace = decode(whole, (step,)), decode(part, (step,))
        assert trace.certainty.exact
        assert trace.final.token_ids.tolist() == truth.final.token_ids.tolist()


def test_a_temperature_far_from_any_in_use() -> None:
    for cold in (1e-305, 5e-324):
        assert decode(FOUR, (Temperature(cold),)).certainty.lowest == pytest.approx([1, 0, 0, 0])
    tied = Distribution(np.array([0, 1]), np.log([0.3, 0.3]), 0.6, 10)
    raised = decode(tied, (LogitBias({5: 1.0}), Temperature(1e-305)))
    assert raised.certainty.of(0) == (0.0, 1.0)
    moved = decode(FOUR, (DynamicTemperature(0.5, 1.5), RepetitionPenalty(2.0)), (7,))
    assert moved.certainty.of(0) == (0.0, 1.0)  # where the logits' zero lies is not known
    frozen = decode(FOUR, (DynamicTemperature(0, 1.5), TopK(1), DynamicTemperature(0, 1.5)))
    assert frozen.certainty.exact
    one = Distribution(np.array([0]), np.log([0.5]), 0.5)
    assert decode(one, (DynamicTemperature(0, 1.5),)).certainty.of(0) == (0.0, 1.0)
    bent = decode(tied, (LogitBias({5: 1.0}), QuadraticSmoothing(1.0)))
    assert bent.certainty.of(0) == (0.0, 1.0)


def test_a_rule_that_nobody_knows_leaves_everything_open() -> None:
    class Reverse:
        label = "reverse"

        def __call__(self, candidates: Candidates, context: Any) -> Candidates:
            return candidates.first(2)

    certainty = decode(FOUR, (Reverse(),)).certainty  # type: ignore[arg-type]
    assert certainty.of(0) == (0.0, 1.0) and certainty.unsent == (0.0, 1.0)
    assert reasons(decode(FOUR, (Reverse(), Dry(0)))) == [(0, "whole_vocabulary")]  # type: ignore[arg-type]
    assert decode(FOUR, (Reverse(), TopP(0.5), PLess(), EtaCutoff(0.1))).certainty.of(0) == (0, 1)  # type: ignore[arg-type]


def test_the_size_of_the_vocabulary_may_be_unknown() -> None:
    part = Distribution(FOUR.token_ids, FOUR.logits, 0.9)
    low, high = part.entropy_bounds
    assert low == pytest.approx(FOUR.entropy_bounds[0]) and high is None
    hot = decode(part, (Temperature(2.0),))
    assert hot.certainty.of(0) == pytest.approx(
        (0, math.sqrt(0.4) / np.sqrt([4, 3, 1, 1, 1]).sum() * math.sqrt(10))
    )
    assert hot.entropy_bounds[1] is None
    cold = decode(part, (Temperature(0.5),)).certainty.of(0)
    assert cold == pytest.approx((16 / 28, 16 / 27))
    huge = decode(part, (LogitBias({2**31 - 1: 1.0}),))
    assert huge.certainty.exact  # that is no token of any vocabulary


def test_what_is_missing_may_be_rounding() -> None:
    whole = Distribution(np.array([1, 0]), np.log([0.6, 0.4]), 0.9999999, 2)
    assert whole.tail is NO_TAIL
    assert decode(whole, (Temperature(2.0),)).certainty.exact
    impossible = Distribution(np.array([1, 0]), np.array([0.0, -math.inf]), 0.999, 10)
    assert impossible.tail is NO_TAIL
    assert impossible.entropy_bounds[0] == impossible.entropy_bounds[1]


@pytest.mark.parametrize(
    "step",
    [
        TopK(1),
        TopP(0.5),
        EpsilonCutoff(0.3),
        DynamicTemperature(0.6, 1.4),
        QuadraticSmoothing(0.3),
        RepetitionPenalty(1.5),
        FrequencyPresencePenalty(0.5),
        Xtc(0.3),
    ],
)
def test_a_tail_may_be_gone_and_the_rest_still_be_uncertain(step: Any) -> None:
    whole = Distribution.from_logits(
        np.log([0.02, 0.03, 0.3, 0.02, 0.1, 0.02, 0.01, 0.4, 1e-9, 0.1])
    )
    sent_only = Constraint(regex="x").bound(Only((7, 2, 4)))
    chain = (DynamicTemperature(0.8, 1.2), sent_only, step)
    check(decode(whole, chain, (7,)), decode(FOUR, chain, (7,)))


def test_a_guess_at_the_others_cuts_nothing_that_certainly_stays() -> None:
    check(*both(normal_logits(54643, 12, 0.953125), 1.0, (EtaCutoff(33 / 997),), (), False))


def test_what_is_shown_agrees_with_what_is_certain() -> None:
    trace = decode(FOUR, (DynamicTemperature(0.1, 3.0, 8.0), EpsilonCutoff(0.25)))
    assert trace.certainty.highest is not None
    shown = trace.final.token_ids
    assert (trace.certainty.highest[FOUR.positions[shown]] > 0).all()


def test_nothing_that_was_sent_is_left_to_penalise() -> None:
    ban = BannedSequences([[7], [2], [4], [9]])
    trace = decode(FOUR, (ban, FrequencyPresencePenalty(1.0)), (7, 0))
    assert trace.certainty.of(0) == (0.0, 0.0)


def test_the_entropy_of_all_that_was_sent_has_one_value() -> None:
    trace = decode(np.zeros(4), (TopK(2),))
    assert trace.entropy_bounds == pytest.approx((math.log(2), math.log(2)))


def test_a_draw_falls_on_a_token_that_was_sent() -> None:
    trace = decode(FOUR, ())
    assert [draw(trace, u) for u in (0.0, 0.44, 0.45, 0.99)] == [7, 7, 2, 9]


def test_a_tail_by_itself() -> None:
    assert NO_TAIL.some() is NO_TAIL and NO_TAIL.tempered(2) is NO_TAIL
    assert NO_TAIL.at_least(0) == 0
    tail = Tail(3, -1.0, 0.0, 0.0)
    assert tail.less(3, gone=True) is NO_TAIL
    assert tail.less(1, gone=True) == Tail(2, -1.0, pytest.approx(math.log(1 - math.exp(-1))), 0.0)
    assert tail.less(3, gone=False).low == -math.inf
    assert tail.at_least(-math.inf) == 3 and tail.at_least(-1.0) == 0
    assert tail.at_least(-1.5) == 3
    assert Tail(3, -1.0, 800.0, 800.0).at_least(-2.0) == 3
    assert (tail.point, tail.some().point) == (0.0, pytest.approx(-math.log(2)))
    assert Tail(3, 0.0, -2.0, 0.0).point == -1.0
    endless = Tail(math.inf, -800.0, 0.0, 0.0)
    assert endless.tempered(2).low == -math.inf  # of more tokens than can be counted
    assert endless.tempered(2).high == math.inf


def test_knowledge_without_a_token_that_was_sent() -> None:
    known = Knowledge.of(FOUR)
    none = known.kept(known.must, np.zeros(4, dtype=bool), known.tail)
    assert len(none.token_ids) == 0 and not none.leader.any()
    assert none.entropy() == (0.0, math.log(6))
    assert none.tail_probability == 1.0


def test_a_whole_distribution_leaves_nothing_open() -> None:
    whole = Distribution.from_logits(np.log([0.5, 0.3, 0.2]))
    assert whole.tail.gone
    assert whole.entropy_bounds == (whole.entropy, whole.entropy)


def test_a_cut_by_rank_that_has_room_for_all_cuts_none() -> None:
    whole = Distribution.from_logits(np.log([0.4, 0.3, 0.2, 0.1]))
    trace = decode(sent(whole, 2, size_known=True), [TopK(4)])
    assert trace.certainty.exact
    assert trace.probabilities[:2].tolist() == pytest.approx([0.4, 0.3])


def test_taking_tokens_from_a_tail_of_unknown_weight() -> None:
    unsure = Tail(5, math.log(0.2), -math.inf, math.log(0.4))
    assert unsure.less(2, gone=True) == Tail(3, math.log(0.2), -math.inf, math.log(0.4))
