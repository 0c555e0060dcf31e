"""What a step refuses: each error names the parameter, the value and the range."""

import math
from typing import Any

import pytest

from explorer.decoding import (
    STEPS,
    BannedSequences,
    Constraint,
    Dry,
    DynamicTemperature,
    EpsilonCutoff,
    EtaCutoff,
    FrequencyPresencePenalty,
    LogitBias,
    MinP,
    MirostatV1,
    MirostatV2,
    NoRepeatNgram,
    ParameterError,
    QuadraticSmoothing,
    RepetitionPenalty,
    TailFree,
    Temperature,
    TopA,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
    chain_from_json,
    step_name,
)
from explorer.decoding.parameters import check_real

COUNT = 2**31 - 1
# The class, what else it needs, the parameter, the least and the greatest that is allowed.
REAL: list[tuple[Any, dict[str, Any], str, float, float]] = [
    (RepetitionPenalty, {}, "penalty", 0.01, 100),
    (FrequencyPresencePenalty, {}, "frequency", -100, 100),
    (FrequencyPresencePenalty, {}, "presence", -100, 100),
    (Dry, {}, "multiplier", 0, 100),
    (Dry, {"multiplier": 1}, "base", 1, 100),
    (TopNSigma, {}, "n", 0, 1000),
    (Temperature, {}, "temperature", 0, 1e6),
    (DynamicTemperature, {"high": 1e6}, "low", 0, 1e6),
    (DynamicTemperature, {"low": 0}, "high", 0, 1e6),
    (DynamicTemperature, {"low": 0, "high": 1}, "exponent", 0, 100),
    (QuadraticSmoothing, {}, "factor", 0, 100),
    (QuadraticSmoothing, {"factor": 1}, "curve", 1, 100),
    (TopP, {}, "p", 0, 1),
    (MinP, {}, "min_p", 0, 1),
    (Typical, {}, "mass", 0, 1),
    (EpsilonCutoff, {}, "epsilon", 0, 1),
    (EtaCutoff, {}, "epsilon", 0, 1),
    (TopA, {}, "a", 0, 1),
    (TailFree, {}, "z", 0, 1),
    (TopH, {}, "h", 0, 1),
    (Xtc, {}, "threshold", 0, 1),
    (Xtc, {"threshold": 0.1}, "probability", 0, 1),
    (MirostatV1, {"eta": 0.1}, "tau", 0, 100),
    (MirostatV1, {"tau": 3}, "eta", 0, 1000),
    (MirostatV1, {"tau": 3, "eta": 0.1}, "mu", -1e6, 1e6),
    (MirostatV2, {"eta": 0.1}, "tau", 0, 100),
    (MirostatV2, {"tau": 3}, "eta", 0, 1000),
    (MirostatV2, {"tau": 3, "eta": 0.1}, "mu", -1e6, 1e6),
]
WHOLE: list[tuple[Any, dict[str, Any], str, int, int]] = [
    (RepetitionPenalty, {"penalty": 1.1}, "window", 0, COUNT),
    (FrequencyPresencePenalty, {}, "window", 0, COUNT),
    (Dry, {"multiplier": 1}, "allowed_length", 1, COUNT),
    (Dry, {"multiplier": 1}, "window", 0, COUNT),
    (NoRepeatNgram, {}, "n", 0, COUNT),
    (TopK, {}, "k", 0, COUNT),
    (MirostatV1, {"tau": 3, "eta": 0.1}, "m", 2, 100_000),
]
NO_NUMBERS = [True, False, "0.5", "", "\ud800", [], [1], {}, 1j, b"1", object()]


def refused(kind: Any, given: dict[str, Any]) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        kind(**given)
    assert isinstance(caught.value, ValueError)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "others", "name", "low", "high"),
    REAL,
    ids=[f"{kind.__name__}.{name}" for kind, _, name, _, _ in REAL],
)
def test_a_number_has_a_range(
    kind: Any, others: dict[str, Any], name: str, low: float, high: float
) -> None:
    for good in (low, high):
        assert getattr(kind(**{**others, name: good}), name) == good
    bad = [math.nextafter(low, -math.inf), math.nextafter(high, math.inf), math.nan, math.inf]
    bad += [-math.inf, 10**400, -(10**400), *NO_NUMBERS]
    if name != "mu":
        bad.append(None)
    for value in bad:
        error = refused(kind, {**others, name: value})
        assert (error.parameter, error.allowed) == (name, f"a number from {low:g} to {high:g}")
        assert error.value is value
        assert str(error) == f"{name} must be {error.allowed}, got {value!r}"


@pytest.mark.parametrize(
    ("kind", "others", "name", "low", "high"),
    WHOLE,
    ids=[f"{kind.__name__}.{name}" for kind, _, name, _, _ in WHOLE],
)
def test_a_count_has_a_range(
    kind: Any, others: dict[str, Any], name: str, low: int, high: int
) -> None:
    for good in (low, high):
        assert getattr(kind(**{**others, name: good}), name) == good
    bad = [low - 1, high + 1, -1, 10**400, -(10**400), 1.0, 2.5, math.nan, math.inf, None]
    for value in [*bad, *NO_NUMBERS]:
        error = refused(kind, {**others, name: value})
        assert (error.parameter, error.value) == (name, value) or value is math.nan
        assert error.allowed == f"a whole number from {low} to {high}"


def test_every_parameter_of_every_step_is_tried_here() -> None:
    tried = {(kind, name) for kind, _, name, _, _ in [*REAL, *WHOLE]}
    fields = {(kind, name) for kind in STEPS.values() for name in kind.__dataclass_fields__}
    fields = {(k, n) for k, n in fields if k.__dataclass_fields__[n]._field_type.name == "_FIELD"}
    assert fields - tried == {
        (LogitBias, "bias"),
        (BannedSequences, "sequences"),
        (Dry, "breakers"),
        (Constraint, "regex"),
        (Constraint, "json_schema"),
        (Constraint, "grammar"),
    }


@pytest.mark.parametrize("kind", [TopK, TopP], ids=["whole", "real"])
def test_a_number_with_more_digits_than_python_prints_is_refused_by_name(kind: Any) -> None:
    (name,) = (name for name in kind.__dataclass_fields__ if name in "kp")
    assert refused(kind, {name: 10**5000}).parameter == name


def test_a_dynamic_temperature_has_its_low_end_below_its_high_one() -> None:
    error = refused(DynamicTemperature, {"low": 1.5, "high": 0.5})
    assert (error.parameter, error.value) == ("high", 0.5)
    assert error.allowed == "at least low, which is 1.5"


TOO_MANY = {i: 1 for i in range(10_001)}


@pytest.mark.parametrize(
    "bias",
    [
        None,
        3,
        True,
        "1",
        [],
        [[1, 2]],
        (1, 2),
        ((1, 2, 3),),
        (([1], 2),),
        TOO_MANY,
    ],
    ids=lambda bias: str(bias)[:20],
)
def test_a_bias_is_a_mapping(bias: Any) -> None:
    error = refused(LogitBias, {"bias": bias})
    assert (error.parameter, error.allowed) == (
        "bias",
        "at most 10000 token ids, each with its bias",
    )


@pytest.mark.parametrize(
    "key", [-1, "-1", 2**31, "99999999999", 1.0, True, None, "", "x", "٣", "1.0"]
)
def test_a_bias_is_on_a_token_id(key: Any) -> None:
    error = refused(LogitBias, {"bias": {key: 1.0}})
    assert (error.parameter, error.allowed) == (
        "bias token_id",
        "a whole number from 0 to 2147483647",
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, 10_001, -10_001, 10**400, True, "1", [1]])
def test_the_amount_of_a_bias_has_a_range(value: Any) -> None:
    error = refused(LogitBias, {"bias": {"7": value}})
    assert (error.parameter, error.allowed) == ("bias[7]", "a number from -10000 to 10000")
    assert error.value is value


@pytest.mark.parametrize("sequences", [None, 3, "ab", {}, {1: 2}, [[1]] * 1_001])
def test_banned_sequences_are_a_list(sequences: Any) -> None:
    error = refused(BannedSequences, {"sequences": sequences})
    assert error.parameter == "sequences"
    assert error.allowed == "a list of at most 1000 lists of token ids"


@pytest.mark.parametrize("sequence", [None, 3, "ab", {}, [], [1] * 10_001])
def test_a_banned_sequence_is_a_list_with_something_in_it(sequence: Any) -> None:
    error = refused(BannedSequences, {"sequences": [[1], sequence]})
    assert (error.parameter, error.value) == ("sequences[1]", sequence)
    assert error.allowed == "a list of 1 to 10000 token ids"


@pytest.mark.parametrize("breakers", [None, 3, "ab", {}, [1] * 10_001])
def test_breakers_are_a_list(breakers: Any) -> None:
    error = refused(Dry, {"multiplier": 1, "breakers": breakers})
    assert (error.parameter, error.allowed) == ("breakers", "a list of 0 to 10000 token ids")


@pytest.mark.parametrize("token_id", [-1, 2**31, 10**400, 1.0, True, None, "1", [1], math.nan])
def test_token_ids_are_whole_numbers(token_id: Any) -> None:
    for kind, given, name in [
        (Dry, {"multiplier": 1, "breakers": [1, token_id]}, "breakers"),
        (BannedSequences, {"sequences": [[1], [2, token_id]]}, "sequences[1]"),
    ]:
        error = refused(kind, given)
        assert error.parameter == f"{name} token_id"
        assert error.value is token_id
        assert error.allowed == "a whole number from 0 to 2147483647"


@pytest.mark.parametrize("name", ["regex", "json_schema"])
@pytest.mark.parametrize("text", [None, 3, True, [], {}, b"x", "x" * 20_001])
def test_a_constraint_is_a_text_of_a_longest_length(name: str, text: Any) -> None:
    error = refused(Constraint, {name: text})
    assert (error.parameter, error.value) == (name, text)
    assert error.allowed == "a text of at most 20000 characters"
    assert getattr(Constraint(**{name: "x" * 20_000}), name) == "x" * 20_000


@pytest.mark.parametrize(
    ("given", "said"), [({}, "neither"), ({"regex": "a", "json_schema": "b"}, "both")]
)
def test_a_constraint_is_one_of_two(given: dict[str, Any], said: str) -> None:
    error = refused(Constraint, given)
    assert (error.parameter, error.value) == ("regex, json_schema", said)
    assert error.allowed == "given by exactly one of the two"


@pytest.mark.parametrize(
    ("step", "where"),
    [
        ({"step": "logit_bias", "bias": {"x": 1}}, "chain[1].bias token_id"),
        ({"step": "logit_bias", "bias": {"4": 1e9}}, "chain[1].bias[4]"),
        ({"step": "banned_sequences", "sequences": [[1], []]}, "chain[1].sequences[1]"),
        ({"step": "constraint", "regex": "a", "grammar": None}, "chain[1] (constraint) field"),
        ({"step": "constraint"}, "chain[1].regex, json_schema"),
        ({"step": "mirostat_v2", "tau": 3, "eta": 0.1, "mu": "9"}, "chain[1].mu"),
        ({"step": "dry", "multiplier": 1, "breakers": "\n"}, "chain[1].breakers"),
    ],
)
def test_an_error_in_json_says_where(step: dict[str, Any], where: str) -> None:
    with pytest.raises(ParameterError) as caught:
        chain_from_json([{"step": "greedy"}, step])
    assert caught.value.parameter == where


def test_whole_numbers_are_numbers() -> None:
    for kind, others, name, _, high in REAL:
        whole = kind(**{**others, name: int(high)})
        assert whole == kind(**{**others, name: high})
        assert step_name(whole) in STEPS


def test_an_error_keeps_what_is_allowed_under_another_name_and_value() -> None:
    with pytest.raises(ParameterError) as raised:
        check_real("p", 7, 0, 1)
    other = raised.value.renamed("chain[0].p").with_value("seven")
    assert str(other) == "chain[0].p must be a number from 0 to 1, got 'seven'"
    assert other.limits == {"kind": "number", "low": 0, "high": 1}
