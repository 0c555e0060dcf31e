"""Each rule on distributions small enough to check by hand."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from explorer.decoding import (
    STEPS,
    Candidates,
    Greedy,
    MinP,
    ParameterError,
    Step,
    Temperature,
    TopK,
    TopP,
    decode,
    step_name,
)

INF, NAN = math.inf, math.nan
P4 = [0.4, 0.3, 0.2, 0.1]


def kept(step: Step, probabilities: list[float]) -> list[int]:
    with np.errstate(divide="ignore"):
        return decode(np.log(probabilities), [step]).final.token_ids.tolist()


def after(steps: list[Step], probabilities: list[float]) -> list[float]:
    return decode(np.log(probabilities), steps).probabilities.tolist()


@pytest.mark.parametrize(
    ("step", "survivors"),
    [
        (Greedy(), 1),
        (TopK(0), 4),
        (TopK(1), 1),
        (TopK(3), 3),
        (TopK(4), 4),
        (TopK(1000), 4),
        (TopP(0), 1),
        (TopP(0.39), 1),
        (TopP(0.41), 2),
        (TopP(0.69), 2),
        (TopP(0.71), 3),
        (TopP(0.91), 4),
        (TopP(1), 4),
        (TopP(1.0), 4),
        (MinP(0), 4),
        (MinP(0.24), 4),
        (MinP(0.26), 3),
        (MinP(0.51), 2),
        (MinP(0.74), 2),
        (MinP(0.76), 1),
        (MinP(1), 1),
        (Temperature(0), 1),
        (Temperature(1), 4),
        (Temperature(7.5), 4),
    ],
)
def test_how_many_of_four_survive(step: Step, survivors: int) -> None:
    assert kept(step, P4) == [0, 1, 2, 3][:survivors]


@pytest.mark.parametrize("step", [Greedy(), TopK(1), TopP(0), Temperature(0), Temperature(0.0)])
def test_one_survivor_of_a_tie_is_the_lowest_token_id(step: Step) -> None:
    assert kept(step, [0.2, 0.4, 0.4]) == [1]


def test_top_k_cuts_through_a_tie() -> None:
    assert kept(TopK(2), [0.25, 0.25, 0.25, 0.25]) == [0, 1]


def test_top_p_at_exact_equality_is_the_fewest_that_reach_p() -> None:
    assert kept(TopP(0.5), [0.25, 0.25, 0.25, 0.25]) == [0, 1]
    assert kept(TopP(0.75), [0.25, 0.25, 0.25, 0.25]) == [0, 1, 2]


def test_min_p_of_1_keeps_all_that_tie_with_the_best() -> None:
    assert kept(MinP(1), [0.1, 0.3, 0.3, 0.3]) == [1, 2, 3]


def test_impossible_tokens_survive_only_rules_that_are_off() -> None:
    certain = [0.0, 1.0, 0.0]
    assert kept(TopP(0.999), certain) == [1]
    assert kept(MinP(5e-324), certain) == [1]
    assert kept(TopP(1), certain) == kept(MinP(0), certain) == kept(TopK(0), certain) == [1, 0, 2]


@pytest.mark.parametrize("step", [TopP(0.5), MinP(0.5), TopK(2), Greedy(), Temperature(0.5)])
def test_a_single_token_survives_every_rule(step: Step) -> None:
    assert kept(step, [1.0]) == [0]


def test_temperature_squares_the_odds_at_one_half() -> None:
    # 0.8² : 0.2² = 16 : 1
    assert after([Temperature(0.5)], [0.8, 0.2]) == pytest.approx([16 / 17, 1 / 17])


def test_temperature_takes_the_root_of_the_odds_at_two() -> None:
    # sqrt(0.64) : sqrt(0.36) = 4 : 3
    assert after([Temperature(2)], [0.64, 0.36]) == pytest.approx([4 / 7, 3 / 7])


def test_temperature_1_changes_nothing() -> None:
    four = Candidates(np.arange(4), np.log(P4))
    assert Temperature(1)(four, ()) is four


@pytest.mark.parametrize("temperature", [1e-3, 1e-300, 5e-324])
def test_a_tiny_temperature_is_almost_greedy_and_stays_finite(temperature: float) -> None:
    close = {"rel": 0, "abs": 1e-200}
    assert after([Temperature(temperature)], [0.3, 0.5, 0.2]) == pytest.approx([0, 1, 0], **close)
    assert after([Temperature(temperature)], [0.2, 0.4, 0.4]) == pytest.approx(
        [0, 0.5, 0.5], **close
    )


def test_a_thousandth_raises_the_odds_to_the_thousandth_power() -> None:
    # (0.3 / 0.5)^1000 = 10^(1000 · log10 0.6)
    least = after([Temperature(1e-3)], [0.3, 0.5, 0.2])[0]
    assert math.log10(least) == pytest.approx(1000 * math.log10(0.6))


@pytest.mark.parametrize("temperature", [1e6])
def test_a_huge_temperature_is_almost_uniform(temperature: float) -> None:
    assert after([Temperature(temperature)], P4) == pytest.approx([0.25] * 4, abs=1e-6)


@pytest.mark.parametrize("rule", [TopP(0.9), MinP(0.5), TopK(2)])
def test_rules_after_a_tiny_temperature_keep_the_best(rule: Step) -> None:
    assert after([Temperature(1e-300), rule], P4) == [1.0, 0.0, 0.0, 0.0]


def test_a_tiny_temperature_leaves_no_entropy() -> None:
    assert decode(np.log(P4), [Temperature(1e-300)]).final.entropy == 0.0


def test_each_rule_sees_the_survivors_renormalised() -> None:
    # Alone, p = 0.55 needs 0.4 + 0.3. After top-k 2 the best has 4/7 > 0.55.
    assert kept(TopP(0.55), P4) == [0, 1]
    assert decode(np.log(P4), [TopK(2), TopP(0.55)]).final.token_ids.tolist() == [0]


def test_the_order_of_the_rules_matters() -> None:
    # Roots of the odds: 0.370, 0.262, 0.203, 0.166; three reach 0.7. Before: 0.5 + 0.25 do.
    logits = np.log([0.5, 0.25, 0.15, 0.1])
    assert len(decode(logits, [Temperature(2), TopP(0.7)]).final) == 3
    assert len(decode(logits, [TopP(0.7), Temperature(2)]).final) == 2


def test_min_p_is_measured_after_the_temperature_before_it() -> None:
    # 0.1 / 0.4 = 1/4; its root is 1/2.
    assert len(decode(np.log(P4), [MinP(0.4), Temperature(2)]).final) == 3
    assert len(decode(np.log(P4), [Temperature(2), MinP(0.4)]).final) == 4


def test_survivors_share_the_mass_in_proportion() -> None:
    assert after([TopK(2)], P4) == pytest.approx([4 / 7, 3 / 7, 0, 0])


@pytest.mark.parametrize(
    "step", [Greedy(), TopK(2), TopP(0.5), MinP(0.5), Temperature(0.5), Temperature(0)]
)
def test_a_step_changes_nothing_that_it_was_given(step: Step) -> None:
    token_ids, logits = np.arange(4), np.log(P4)
    token_ids.flags.writeable = logits.flags.writeable = False
    step(Candidates(token_ids, logits), ())


NOT_REAL = [True, False, None, "0.5", [], {}, NAN, INF, -INF, 1j, "\ud800"]


@pytest.mark.parametrize(
    ("kind", "parameter", "value"),
    [
        *((TopP, "p", value) for value in [*NOT_REAL, -0.001, 1.001, -1, 2, 10**400, -(10**400)]),
        *((MinP, "min_p", value) for value in [*NOT_REAL, -0.001, 1.001, 2, 10**400]),
        *((Temperature, "temperature", value) for value in [*NOT_REAL, -0.001, -1, -(10**400)]),
        *((TopK, "k", value) for value in [*NOT_REAL, -1, 2**31, 10**400, 2.0, 0.5]),
    ],
)
def test_a_bad_parameter_is_named_with_its_value_and_range(
    kind: Any, parameter: str, value: Any
) -> None:
    with pytest.raises(ParameterError) as caught:
        kind(value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.parameter == parameter
    assert caught.value.value is value
    assert str(caught.value) == f"{parameter} must be {caught.value.allowed}, got {value!r}"
    assert "number" in caught.value.allowed


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: TopP(2), "a number from 0 to 1"),
        (lambda: MinP(2), "a number from 0 to 1"),
        (lambda: Temperature(-1), "a number from 0 to 1e+06"),
        (lambda: TopK(-1), "a whole number from 0 to 2147483647"),
    ],
)
def test_the_range_is_said(make: Any, allowed: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert caught.value.allowed == allowed


def test_a_temperature_that_no_float_can_hold_is_refused() -> None:
    with pytest.raises(ParameterError, match="temperature"):
        Temperature(10**400)


@pytest.mark.parametrize("step", [Greedy(), TopK(2), TopP(0.5), MinP(0.5), Temperature(0.5)])
def test_steps_are_values(step: Step) -> None:
    assert step == dataclasses.replace(step)  # type: ignore[type-var]
    assert hash(step) == hash(dataclasses.replace(step))  # type: ignore[type-var]
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        step.k = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TopK", "top_k"),
        ("PLess", "p_less"),
        ("TopNSigma", "top_n_sigma"),
        ("NoRepeatNgram", "no_repeat_ngram"),
        ("MirostatV2", "mirostat_v2"),
        ("Dry", "dry"),
    ],
)
def test_the_json_name_is_the_class_in_snake_case(name: str, expected: str) -> None:
    kind = type(name, (), {})
    assert step_name(kind) == step_name(kind()) == expected


def test_every_step_has_a_label_of_its_own() -> None:
    labels = [kind.label for kind in STEPS.values()]
    assert len(set(labels)) == len(labels)
