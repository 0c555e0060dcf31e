"""The number that a rule compares, the line it draws, and the parameter that moves the line."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    STEPS,
    Candidates,
    CuttingStep,
    EpsilonCutoff,
    EtaCutoff,
    Greedy,
    Measured,
    MeasuringStep,
    MinP,
    MirostatV1,
    MirostatV2,
    PLess,
    Step,
    TailFree,
    Temperature,
    TopA,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
    decode,
)
from tests.decoding.strategies import BY_KIND, normal_logits

MEASURING = [
    Greedy,
    TopK,
    TopP,
    MinP,
    TopNSigma,
    Typical,
    EpsilonCutoff,
    EtaCutoff,
    TopA,
    PLess,
    TailFree,
    TopH,
    Xtc,
    MirostatV1,
    MirostatV2,
]
CUTTING = [kind for kind in MEASURING if hasattr(kind, "parameter")]
# Whatever the line: the first of these stays. (It stands on the keeping side of the others'.)
BEST_ALWAYS_STAYS = (EpsilonCutoff, EtaCutoff, TopH, MirostatV2)

P4 = [0.5, 0.3, 0.15, 0.05]


def is_off(step: Step) -> bool:
    """A rule that is off cuts nothing, whatever line it could draw."""
    return (
        (isinstance(step, TopK) and step.k == 0)
        or (isinstance(step, TopNSigma) and step.n == 0)
        or (isinstance(step, TopP) and step.p == 1)
        or (isinstance(step, Typical) and step.mass == 1)
        or (isinstance(step, TailFree) and step.z == 1)
        or (isinstance(step, Xtc) and (step.probability == 0 or step.threshold > 0.5))
    )


def measured(step: Step, candidates: Candidates) -> Measured:
    assert isinstance(step, MeasuringStep)
    return step.measured(candidates, np.arange(len(candidates)))


def keeping(result: Measured) -> NDArray[np.bool_]:
    side = {"at_most": np.less_equal, "at_least": np.greater_equal, "below": np.less}[result.keeps]
    kept: NDArray[np.bool_] = side(result.values, result.line)
    return kept


def test_these_are_the_rules_that_measure_and_those_that_can_be_moved() -> None:
    steps = [decode_example(kind) for kind in STEPS.values()]
    assert {type(step) for step in steps if isinstance(step, MeasuringStep)} == set(MEASURING)
    movable = {type(step) for step in steps if isinstance(step, CuttingStep)}
    assert movable == set(CUTTING) == set(MEASURING) - {Greedy, PLess, MirostatV1, MirostatV2}


def decode_example(kind: Any) -> Step:
    examples: dict[str, Any] = {
        "bias": {},
        "sequences": [],
        "low": 0.5,
        "high": 1.5,
        "tau": 3.0,
        "eta": 0.1,
        "n": 1,
        "k": 1,
    }
    required = [
        field.name
        for field in kind.__dataclass_fields__.values()
        if field.default.__class__.__name__ == "_MISSING_TYPE"
    ]
    step: Step = (
        kind(regex="x")
        if kind.__name__ == "Constraint"
        else kind(**{name: examples.get(name, 0.5) for name in required})
    )
    return step


@pytest.mark.parametrize(
    ("step", "quantity", "keeps", "line", "values"),
    [
        (Greedy(), "rank", "at_most", 1, [1, 2, 3, 4]),
        (TopK(3), "rank", "at_most", 3, [1, 2, 3, 4]),
        (TopP(0.7), "mass_before", "below", 0.7, [0, 0.5, 0.8, 0.95]),
        (MinP(0.2), "probability", "at_least", 0.1, P4),
        (EpsilonCutoff(0.2), "probability", "at_least", 0.2, P4),
        # H = 1.1421, exp(-H) = 0.31915; half of it, since sqrt(0.25) = 0.5, is below ε.
        (EtaCutoff(0.25), "probability", "at_least", 0.15957, P4),
        (EtaCutoff(0.05), "probability", "at_least", 0.05, P4),
        (TopA(0.8), "probability", "at_least", 0.2, P4),
        # 0.25 + 0.09 + 0.0225 + 0.0025
        (PLess(), "probability", "at_least", 0.365, P4),
        # |second differences| 0.05 and 0.05
        (TailFree(0.6), "curvature", "at_most", 0.6, [0, 0.5, 1, math.inf]),
        # -p ln p: 0.3466, 0.3612, 0.2846, 0.1498 of 1.1421; the first token always stays
        (TopH(0.7), "entropy_share", "at_most", 0.7, [0, 0.61972, 0.86888, 1]),
        # The order by |surprisal - H| is 0.3, 0.5, 0.15, 0.05.
        (Typical(0.7), "typical_mass_before", "below", 0.7, [0.3, 0, 0.8, 0.95]),
        (Xtc(0.2), "probability", "below", 0.2, P4),
        (MirostatV2(1.0, 0.1), "surprisal", "at_most", 2, [1, 1.73697, 2.73697, 4.32193]),
    ],
    ids=str,
)
def test_the_number_and_the_line_by_hand(
    step: Step, quantity: str, keeps: str, line: float, values: list[float]
) -> None:
    result = measured(step, decode(np.log(P4), []).final)
    assert (result.quantity, result.keeps) == (quantity, keeps)
    assert result.line == pytest.approx(line, rel=1e-4)
    assert result.values == pytest.approx(values, rel=1e-4, abs=1e-12)


def test_the_numbers_of_rules_on_logits_by_hand() -> None:
    # Mean 2, population σ = sqrt(6/4): 4 - 1.5 · 1.2247.
    result = measured(TopNSigma(1.5), decode([4.0, 2.0, 1.0, 1.0], []).final)
    assert (result.quantity, result.keeps) == ("logit", "at_least")
    assert result.line == pytest.approx(2.16288, rel=1e-5)
    assert result.values.tolist() == [4, 2, 1, 1]
    # Zipf of s = 1, N = 1000, mu = 6: k = 64 / 6.908 = 9.26.
    zipf = decode(-np.log(np.arange(1, 1001)), []).final
    result = measured(MirostatV1(3.0, 0.1), zipf)
    assert (result.quantity, result.keeps, result.line) == ("rank", "at_most", 9)


def test_top_k_that_is_off_has_its_line_at_the_end() -> None:
    result = measured(TopK(0), decode(np.log(P4), []).final)
    assert (result.line, keeping(result).all()) == (4, True)


@pytest.mark.parametrize("kind", MEASURING, ids=[kind.__name__ for kind in MEASURING])
def test_a_token_survives_exactly_on_the_keeping_side_of_the_line(kind: type) -> None:
    @settings(max_examples=80, deadline=None)
    @given(seeds, st.integers(1, 40), scales, before, BY_KIND[kind].filter(lambda s: not is_off(s)))
    def check(seed: int, size: int, scale: float, chain: list[Step], step: Step) -> None:
        candidates = decode(normal_logits(seed, size, scale), chain).final
        result = measured(step, candidates)
        expected = keeping(result)
        if isinstance(step, BEST_ALWAYS_STAYS):
            expected[0] = True
        if isinstance(step, Xtc) and not expected.all():
            # The least probable of those that reach the threshold stays.
            expected[np.flatnonzero(~expected)[-1]] = True
        if isinstance(step, TailFree) and len(candidates) == 1:
            assert expected.all()
        survives = np.isin(candidates.token_ids, step(candidates, ()).token_ids)
        # On the line itself rounding decides: ln and exp do not undo each other to the last bit.
        clear = ~np.isclose(result.values, result.line, rtol=1e-9, atol=1e-13)
        clear |= np.array(result.quantity == "rank")
        np.testing.assert_array_equal(survives[clear], expected[clear])

    check()


@pytest.mark.parametrize("kind", MEASURING, ids=[kind.__name__ for kind in MEASURING])
def test_any_places_can_be_asked_in_any_order(kind: type) -> None:
    @settings(max_examples=30, deadline=None)
    @given(seeds, st.integers(1, 40), BY_KIND[kind], st.randoms(use_true_random=False))
    def check(seed: int, size: int, step: Any, random: Any) -> None:
        candidates = decode(normal_logits(seed, size), []).final
        places = np.array([random.randrange(size) for _ in range(5)])
        for some in (places, places[:0]):
            np.testing.assert_allclose(
                step.measured(candidates, some).values,
                measured(step, candidates).values[some],
                rtol=1e-12,
            )
            if isinstance(step, CuttingStep):
                every = step.critical(candidates, np.arange(size))
                np.testing.assert_allclose(step.critical(candidates, some), every[some], rtol=1e-12)

    check()


seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([0.1, 1.0, 3.0])
before = st.sampled_from([[], [TopK(20)], [Temperature(0.7)], [Temperature(1.7), TopP(0.931)]])


@pytest.mark.parametrize("kind", CUTTING, ids=[kind.__name__ for kind in CUTTING])
def test_a_hair_beyond_the_critical_parameter_decides(kind: type) -> None:
    decided = {"stays": 0, "goes": 0}

    @settings(max_examples=80, deadline=None)
    @given(seeds, st.integers(2, 40), scales, before, BY_KIND[kind])
    def check(seed: int, size: int, scale: float, chain: list[Step], step: Any) -> None:
        candidates = decode(normal_logits(seed, size, scale), chain).final
        if isinstance(step, Xtc):
            step = replace(step, probability=1.0)
        critical = step.critical(candidates, np.arange(len(candidates)))
        for place, edge in enumerate(critical.tolist()):
            if isinstance(step, TopK):
                on_edge, other = edge, edge - 1
            else:
                hair = 1e-9 * abs(edge) if step.widens else -1e-9 * abs(edge)
                on_edge, other = edge + hair, edge - hair
            if is_within(step, on_edge):
                assert survives(step, on_edge, candidates, place)
                decided["stays"] += 1
            if edge != 0 and is_within(step, other) and not is_safe(step, candidates, place):
                assert not survives(step, other, candidates, place)
                decided["goes"] += 1

    check()
    assert min(decided.values()) > 50


def is_within(step: Any, value: float) -> bool:
    """Whether it is a value of the parameter with which the rule is on."""
    if isinstance(step, TopK):
        return 1 <= value
    if isinstance(step, TopNSigma):
        return 0 < value <= 1000
    if isinstance(step, Xtc):
        return 0 <= value <= 0.5
    if isinstance(step, EpsilonCutoff | EtaCutoff | MinP | TopA | TopH):
        return 0 <= value <= 1
    return 0 <= value < 1


def is_safe(step: Any, candidates: Candidates, place: int) -> bool:
    """Whether it survives whatever the parameter: the best, but for a rule that cuts the best."""
    if isinstance(step, Xtc):
        return place == len(candidates) - 1
    return place == 0 and not isinstance(step, Typical)


def survives(step: Any, value: float, candidates: Candidates, place: int) -> bool:
    number = round(value) if isinstance(step, TopK) else value
    kept = replace(step, **{step.parameter: number})(candidates, ())
    return int(candidates.token_ids[place]) in kept.token_ids.tolist()


@pytest.mark.parametrize(
    ("step", "critical"),
    [
        (TopK(1), [1, 2, 3, 4]),
        (TopP(0.1), [0, 0.5, 0.8, 0.95]),
        (MinP(0.1), [1, 0.6, 0.3, 0.1]),
        (EpsilonCutoff(0.1), P4),
        # exp(-H) = 0.31915, its square 0.10186: 0.05 is ε itself, the others (p / 0.31915)².
        (EtaCutoff(0.1), [2.45441, 0.88359, 0.22090, 0.05]),
        (TopA(0.1), [2, 1.2, 0.6, 0.2]),
        (TailFree(0.1), [0, 0.5, 1, math.inf]),
        (TopH(0.1), [0, 0.61972, 0.86888, 1]),
        (Typical(0.1), [0.3, 0, 0.8, 0.95]),
    ],
    ids=str,
)
def test_the_critical_parameter_by_hand(step: Any, critical: list[float]) -> None:
    found = step.critical(decode(np.log(P4), []).final, np.arange(4))
    assert found == pytest.approx(critical, rel=1e-4, abs=1e-12)


def test_of_tokens_as_typical_as_one_another_the_lower_id_comes_before() -> None:
    even = decode([0.0] * 4, []).final
    for step in (Typical(0.3), Typical(0.7)):
        assert measured(step, even).values.tolist() == [0, 0.25, 0.5, 0.75]
        assert step.critical(even, np.array([3, 1])).tolist() == [0.75, 0.25]
    # Surprisals 0.9163, 1.2040, 2.3026 thrice, H = 1.4185: distances 0.5022, 0.2145, 0.8841.
    with_tail = decode(np.log([0.3, 0.4, 0.1, 0.1, 0.1]), []).final
    assert with_tail.token_ids.tolist() == [1, 0, 2, 3, 4]
    before = [0.3, 0, 0.7, 0.8, 0.9]
    assert measured(Typical(0.5), with_tail).values == pytest.approx(before)


def test_xtc_lets_a_token_stay_once_the_next_one_is_below_the_threshold() -> None:
    # 0.3 goes while 0.15 reaches the threshold, too; at 0.16 it is the least that does.
    candidates = decode(np.log(P4), []).final
    assert Xtc(0.16)(candidates, ()).token_ids.tolist() == [1, 2, 3]
    assert Xtc(0.14)(candidates, ()).token_ids.tolist() == [2, 3]
    assert Xtc(0.1).critical(candidates, np.array([0, 1, 2])) == pytest.approx([0.3, 0.15, 0.05])


def test_top_n_sigma_of_equal_logits_stands_on_the_line_with_all() -> None:
    candidates = decode([0.1] * 5, []).final
    assert TopNSigma(1).critical(candidates, np.arange(5)).tolist() == [0] * 5
    assert keeping(measured(TopNSigma(1), candidates)).all()
