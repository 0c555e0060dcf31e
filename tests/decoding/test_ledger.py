"""The ledger against a naive recomputation: each stage decoded anew, each number by its formula."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from explorer.decoding import (
    BannedSequences,
    Chain,
    Constraint,
    Distribution,
    EpsilonCutoff,
    EtaCutoff,
    Greedy,
    LedgerRow,
    MeasuringStep,
    MinP,
    MirostatV1,
    MirostatV2,
    Miss,
    NoRepeatNgram,
    PLess,
    Step,
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
    curve,
    decode,
    ledger,
)
from tests.decoding.strategies import BY_KIND, Only, chains, contexts, logit_lists, tie_free_logits

CLOSE = 1e-9
MEASURED = [kind for kind in BY_KIND if issubclass(kind, MeasuringStep)]


def all_tokens(trace: Trace) -> NDArray[np.int64]:
    return trace.distribution.token_ids


def rows_of(logits: ArrayLike, chain: Chain) -> dict[int, LedgerRow]:
    trace = decode(logits, chain)
    return {row.token_id: row for row in ledger(trace, all_tokens(trace))}


def survivors(logits: Any, chain: Chain, context: Any = ()) -> tuple[list[int], list[float]]:
    """Ids and logits that a chain leaves, most probable first."""
    final = decode(logits, chain, context).final
    return final.token_ids.tolist(), final.logits.tolist()


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def entropy(p: list[float]) -> float:
    return -math.fsum(x * math.log(x) for x in p if x > 0)


def numbers(quantity: str, ids: list[int], logits: list[float]) -> list[float]:
    """What a quantity is by its definition, for each token in turn."""
    p = softmax(logits)
    count = len(p)
    if quantity == "rank":
        return [float(place + 1) for place in range(count)]
    if quantity == "probability":
        return p
    if quantity == "mass_before":
        return [math.fsum(p[:place]) for place in range(count)]
    if quantity == "logit":
        return logits
    if quantity == "surprisal":
        best = math.log2(p[0])
        return [(logits[0] - logit) / math.log(2) - best for logit in logits]
    if quantity == "typical_mass_before":
        surprisal = [logits[0] - logit - math.log(p[0]) for logit in logits]
        far = [abs(one - entropy(p)) for one in surprisal]
        order = sorted(range(count), key=lambda place: (far[place], ids[place]))
        found = {place: math.fsum(p[i] for i in order[:n]) for n, place in enumerate(order)}
        return [found[place] for place in range(count)]
    if quantity == "curvature":  # the first always stays, the last never does
        bends = [abs(p[i] - 2 * p[i + 1] + p[i + 2]) for i in range(count - 2)]
        shares = [math.fsum(bends[: i + 1]) / (math.fsum(bends) or 1) for i in range(count - 2)]
        return [0.0, *shares, math.inf][:count]
    assert quantity == "entropy_share"
    head = softmax(logits[:100])
    terms = [-x * math.log(x) if x > 0 else 0.0 for x in head]
    shares = [math.fsum(terms[: i + 1]) / (math.fsum(terms) or 1) for i in range(len(head))]
    return [0.0, *shares[1:]] + [math.inf] * (count - 100)


def line(step: Any, logits: list[float]) -> float | None:
    """Where the rule draws its line; `None` where only its own formula of many steps knows."""
    p = softmax(logits)
    finite = [logit for logit in logits if math.isfinite(logit)]
    mean = math.fsum(finite) / len(finite)
    sigma = math.sqrt(math.fsum((logit - mean) ** 2 for logit in finite) / len(finite))
    lines: dict[type, Any] = {
        Greedy: lambda: 1.0,
        TopK: lambda: float(step.k or len(p)),
        TopP: lambda: step.p,
        MinP: lambda: step.min_p * p[0],
        Typical: lambda: step.mass,
        EpsilonCutoff: lambda: step.epsilon,
        EtaCutoff: lambda: min(step.epsilon, math.sqrt(step.epsilon) * math.exp(-entropy(p))),
        TopA: lambda: step.a * p[0] ** 2,
        TailFree: lambda: step.z,
        TopH: lambda: step.h,
        PLess: lambda: math.fsum(x * x for x in p),
        TopNSigma: lambda: logits[0] - step.n * sigma,
        Xtc: lambda: step.threshold,
        MirostatV1: lambda: None,
        MirostatV2: lambda: 2 * step.tau if step.mu is None else step.mu,
    }
    found: float | None = lines[type(step)]()
    return found


def beyond(miss: Miss) -> bool:
    """Whether the token stands where the line says it can't stay."""
    slack = CLOSE * max(1.0, abs(miss.needed))
    return {
        "at_most": miss.had > miss.needed - slack,
        "at_least": miss.had < miss.needed + slack,
        "below": miss.had >= miss.needed - slack,
    }[miss.keeps]


def check_miss(miss: Miss, step: Step, part: tuple[list[int], list[float]], token: int) -> None:
    ids, logits = part
    had = numbers(miss.quantity, ids, logits)[ids.index(token)]
    never = miss.quantity == "curvature" and had == math.inf  # but where the rule is off, at 1
    assert miss.had == pytest.approx(had, rel=1e-7, abs=1e-9) or (never and miss.had >= 1)
    needed = line(step, logits)
    assert needed is None or miss.needed == pytest.approx(needed, rel=1e-9, abs=1e-12)
    assert beyond(miss)


@settings(deadline=None)
@given(logit_lists, chains, contexts)
def test_every_row_is_what_decoding_each_part_of_the_chain_says(
    logits: list[float], chain: Chain, context: tuple[int, ...]
) -> None:
    parts = [survivors(logits, chain[:length], context) for length in range(len(chain) + 1)]
    shares = [dict(zip(ids, softmax(left), strict=True)) for ids, left in parts]
    trace = decode(logits, chain, context)
    rows = ledger(trace, all_tokens(trace))
    assert [row.token_id for row in rows] == all_tokens(trace).tolist()
    measured = set()
    for row in rows:
        token = row.token_id
        assert row.probabilities == pytest.approx([p.get(token, 0.0) for p in shares], abs=1e-12)
        gone = [number for number in range(len(chain)) if token not in shares[number + 1]]
        assert row.cut_at == (gone[0] if gone else None)
        if not gone or not isinstance(chain[gone[0]], MeasuringStep):
            assert row.miss is None
            continue
        assert row.miss is not None
        if gone[0] not in measured or token % 5 == 0:  # the naive numbers take their time
            check_miss(row.miss, chain[gone[0]], parts[gone[0]], token)
        measured.add(gone[0])


@pytest.mark.parametrize("kind", MEASURED, ids=lambda kind: str(kind.__name__))
@settings(deadline=None, max_examples=50)
@given(st.data(), tie_free_logits)
def test_the_line_parts_who_stays_from_who_goes(
    kind: type[Step], data: st.DataObject, logits: NDArray[np.float64]
) -> None:
    step = data.draw(BY_KIND[kind])
    trace = decode(logits, [step])
    rows = ledger(trace, all_tokens(trace))
    ids, ordered = survivors(logits, ())
    for row in rows:
        if row.miss is not None and row.token_id < 5:
            check_miss(row.miss, step, (ids, ordered), row.token_id)
    drawn = line(step, ordered)
    found = curve(trace.stages[0])
    assert found is not None
    measured = found[1]
    if drawn is None or (isinstance(step, Xtc) and not len(trace.stages[0].removed)):
        return
    assert measured.line == pytest.approx(drawn)
    had = numbers(measured.quantity, ids, ordered)
    stayed = set(trace.final.token_ids.tolist())
    slack = CLOSE * max(1.0, abs(drawn))
    for token, value in zip(ids, had, strict=True):
        clear = {
            "at_most": value < drawn - slack,
            "at_least": value > drawn + slack,
            "below": value < drawn - slack,
        }[measured.keeps]
        assert token in stayed or not clear


def test_a_chain_by_hand() -> None:
    # Top-k leaves 0.4, 0.3, 0.2 of 0.9; min-p 0.6 wants 0.6 * 4/9 and the third has 2/9.
    rows = rows_of(np.log([0.1, 0.4, 0.3, 0.2]), (TopK(3), MinP(0.6), Temperature(0.5)))
    assert rows[0].probabilities == pytest.approx((0.1, 0, 0, 0))
    assert (rows[0].cut_at, rows[0].miss) == (0, Miss("rank", "at_most", 3, 4))
    assert rows[3].probabilities == pytest.approx((0.2, 2 / 9, 0, 0))
    assert rows[3].cut_at == 1
    miss = rows[3].miss
    assert miss is not None
    assert (miss.quantity, miss.keeps) == ("probability", "at_least")
    assert (miss.needed, miss.had) == pytest.approx((0.6 * 4 / 9, 2 / 9))
    # Squared: 16 to 9.
    assert rows[1].probabilities == pytest.approx((0.4, 4 / 9, 4 / 7, 16 / 25))
    assert rows[2].probabilities == pytest.approx((0.3, 3 / 9, 3 / 7, 9 / 25))
    assert rows[1].cut_at is rows[1].miss is rows[2].cut_at is rows[2].miss is None


@pytest.mark.parametrize(
    ("step", "token", "miss"),
    [
        (Greedy(), 1, ("rank", "at_most", 1, 2)),
        (TopP(0.7), 2, ("mass_before", "below", 0.7, 0.8)),
        (EpsilonCutoff(0.25), 2, ("probability", "at_least", 0.25, 0.2)),
        (TopA(1), 2, ("probability", "at_least", 0.25, 0.2)),
        (PLess(), 1, ("probability", "at_least", 0.38, 0.3)),
        (Xtc(0.25), 0, ("probability", "below", 0.25, 0.5)),
        (MirostatV2(1, 0.1), 2, ("surprisal", "at_most", 2, math.log2(5))),
        (TopNSigma(0), 0, None),
        # H = 1.0297; the distances are 0.337, 0.174 and 0.580.
        (Typical(0.2), 0, ("typical_mass_before", "below", 0.2, 0.3)),
        (TailFree(0.5), 1, ("curvature", "at_most", 0.5, 1)),
        # 0.5 ln 2 + 0.3 ln(10/3) = 0.7078 of 1.0297
        (TopH(0.6), 1, ("entropy_share", "at_most", 0.6, 0.68739)),
    ],
    ids=repr,
)
def test_each_rule_says_what_it_needed_and_what_the_token_had(
    step: Step, token: int, miss: tuple[str, str, float, float] | None
) -> None:
    found = rows_of(np.log([0.5, 0.3, 0.2]), (step,))[token].miss
    if miss is None:
        assert found is None
        return
    assert found is not None
    assert (found.quantity, found.keeps) == miss[:2]
    assert (found.needed, found.had) == pytest.approx(miss[2:], rel=1e-4)


@pytest.mark.parametrize(
    "step",
    [BannedSequences([[1]]), NoRepeatNgram(1), Constraint(regex="x").bound(Only((0, 2)))],
    ids=repr,
)
def test_who_is_banned_has_a_cut_and_no_miss(step: Step) -> None:
    trace = decode(np.log([0.5, 0.3, 0.2]), [step, TopK(1)], (1,))
    rows = {row.token_id: row for row in ledger(trace, np.arange(3))}
    assert (rows[1].cut_at, rows[1].miss) == (0, None)
    assert rows[2].miss == Miss("rank", "at_most", 1, 2)


def test_temperature_0_cuts_without_a_number() -> None:
    row = rows_of(np.log([0.5, 0.3, 0.2]), (Temperature(0),))[1]
    assert (row.probabilities[1], row.cut_at, row.miss) == (0, 0, None)


@settings(deadline=None, max_examples=50)
@given(tie_free_logits, chains, st.randoms(use_true_random=False))
def test_rows_come_in_the_order_of_the_tokens_asked_for(
    logits: NDArray[np.float64], chain: Chain, order: Any
) -> None:
    trace = decode(logits, chain)
    asked = list(range(len(logits)))
    order.shuffle(asked)
    asked = asked[: 1 + len(asked) // 2]
    rows = ledger(trace, np.array(asked))
    assert [row.token_id for row in rows] == asked
    whole = {row.token_id: row for row in ledger(trace, all_tokens(trace))}
    assert list(rows) == [whole[token_id] for token_id in asked]


def test_no_tokens_no_rows() -> None:
    assert ledger(decode([1.0, 2.0], [TopK(1)]), np.array([], dtype=np.int64)) == ()


def test_what_a_server_sent_is_measured_beside_what_it_did_not() -> None:
    # 0.8 of the mass is known: 0.7 is reached by all three, of which one then is left.
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.24, 0.16]), 0.8, 10)
    trace = decode(known, [TopP(0.7), TopK(1)])
    seven, two, four = ledger(trace, np.array([7, 2, 4]))
    assert seven.probabilities == pytest.approx((0.4, 0.5, 1))
    assert two.probabilities == pytest.approx((0.24, 0.3, 0))
    assert four.probabilities == pytest.approx((0.16, 0.2, 0))
    assert (seven.cut_at, two.cut_at, four.cut_at) == (None, 1, 1)
    assert four.miss is not None
    assert (four.miss.needed, four.miss.had) == (1, 3)


def test_a_curve_near_the_top_has_every_rank() -> None:
    logits = np.log(np.arange(1000, 0, -1.0))
    for k, until in ((1, 16), (8, 16), (9, 18), (24, 48)):
        found = curve(decode(logits, [TopK(k)]).stages[0])
        assert found is not None
        assert found[0].tolist() == list(range(1, until + 1))


def test_a_curve_of_few_candidates_ends_with_the_last() -> None:
    found = curve(decode(np.log([0.5, 0.3, 0.2]), [TopP(0.7)]).stages[0])
    assert found is not None
    ranks, measured = found
    assert ranks.tolist() == [1, 2, 3]
    assert measured.values.tolist() == pytest.approx([0, 0.5, 0.8])
    assert (measured.line, measured.quantity, measured.keeps) == (0.7, "mass_before", "below")


def test_a_curve_that_ends_far_down_is_thinned() -> None:
    weights = np.arange(5000, 0, -1.0)
    found = curve(decode(np.log(weights), [TopK(1000), TopK(600)]).stages[0])
    assert found is not None
    ranks = found[0].tolist()
    assert len(ranks) <= 48
    assert (ranks[0], ranks[-1]) == (1, 2000)
    assert ranks == sorted(set(ranks))
    assert ranks[:5] == [1, 2, 3, 4, 5]
    ratios = [far / near for near, far in pairwise(ranks[10:])]
    assert max(ratios) < 1.3  # evenly in the logarithm
    assert min(ratios) > 1.1
    thinned = curve(decode(np.log(weights), [EpsilonCutoff(1.9999e-4)]).stages[0])
    assert thinned is not None
    ranks_of_p, measured = thinned
    p = weights / weights.sum()
    assert measured.values.tolist() == pytest.approx(p[ranks_of_p - 1].tolist())


@pytest.mark.parametrize(
    "step", [Temperature(0.5), Temperature(0), BannedSequences([[1]]), NoRepeatNgram(1)], ids=repr
)
def test_a_rule_without_a_number_has_no_curve(step: Step) -> None:
    assert curve(decode([3.0, 2.0, 1.0], [step], (1,)).stages[0]) is None
