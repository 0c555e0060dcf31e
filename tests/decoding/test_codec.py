"""Chains as JSON: there and back, and exact errors for everything else."""

import json
import math
from typing import Any

import pytest

from explorer.decoding import (
    PRESETS,
    STEPS,
    BannedSequences,
    Chain,
    Constraint,
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
    NoRepeatNgram,
    ParameterError,
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
    Typical,
    Xtc,
    chain_from_json,
    chain_to_json,
    resolve_chain,
)
from explorer.decoding.codec import MAX_STEPS

EVERY_STEP: Chain = (
    LogitBias({50256: -math.inf, 7: 2.5}),
    BannedSequences([[3], [5, 6]]),
    Constraint(regex="[0-9]+"),
    Constraint(json_schema="{}"),
    RepetitionPenalty(1.3, 64),
    FrequencyPresencePenalty(0.5, 0.25),
    Dry(0.8, breakers=(13,)),
    NoRepeatNgram(3),
    TopNSigma(1.5),
    Temperature(0.6),
    DynamicTemperature(0.5, 1.5),
    QuadraticSmoothing(0.3),
    TopK(40),
    TopP(0.9),
    MinP(0.1),
    Typical(0.95),
    EpsilonCutoff(3e-4),
    EtaCutoff(3e-4),
    TopA(0.2),
    TailFree(0.95),
    TopH(0.4),
    PLess(),
    Xtc(0.1, 0.5),
    MirostatV1(5.0, 0.1),
    MirostatV2(5.0, 0.1, 9.5),
    Greedy(),
)
NAMES = [
    "banned_sequences",
    "constraint",
    "dry",
    "dynamic_temperature",
    "epsilon_cutoff",
    "eta_cutoff",
    "frequency_presence_penalty",
    "greedy",
    "logit_bias",
    "min_p",
    "mirostat_v1",
    "mirostat_v2",
    "no_repeat_ngram",
    "p_less",
    "quadratic_smoothing",
    "repetition_penalty",
    "tail_free",
    "temperature",
    "top_a",
    "top_h",
    "top_k",
    "top_n_sigma",
    "top_p",
    "typical",
    "xtc",
]


def refused(data: Any) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        chain_from_json(data)
    return caught.value


def test_a_chain_as_json() -> None:
    assert chain_to_json(EVERY_STEP) == [
        {"step": "logit_bias", "bias": {"7": 2.5, "50256": None}},
        {"step": "banned_sequences", "sequences": [[3], [5, 6]]},
        {"step": "constraint", "regex": "[0-9]+", "json_schema": ""},
        {"step": "constraint", "regex": "", "json_schema": "{}"},
        {"step": "repetition_penalty", "penalty": 1.3, "window": 64},
        {"step": "frequency_presence_penalty", "frequency": 0.5, "presence": 0.25, "window": 0},
        {
            "step": "dry",
            "multiplier": 0.8,
            "base": 1.75,
            "allowed_length": 2,
            "window": 0,
            "breakers": [13],
        },
        {"step": "no_repeat_ngram", "n": 3},
        {"step": "top_n_sigma", "n": 1.5},
        {"step": "temperature", "temperature": 0.6},
        {"step": "dynamic_temperature", "low": 0.5, "high": 1.5, "exponent": 1.0},
        {"step": "quadratic_smoothing", "factor": 0.3, "curve": 1.0},
        {"step": "top_k", "k": 40},
        {"step": "top_p", "p": 0.9},
        {"step": "min_p", "min_p": 0.1},
        {"step": "typical", "mass": 0.95},
        {"step": "epsilon_cutoff", "epsilon": 3e-4},
        {"step": "eta_cutoff", "epsilon": 3e-4},
        {"step": "top_a", "a": 0.2},
        {"step": "tail_free", "z": 0.95},
        {"step": "top_h", "h": 0.4},
        {"step": "p_less"},
        {"step": "xtc", "threshold": 0.1, "probability": 0.5},
        {"step": "mirostat_v1", "tau": 5.0, "eta": 0.1, "mu": None, "m": 100},
        {"step": "mirostat_v2", "tau": 5.0, "eta": 0.1, "mu": 9.5},
        {"step": "greedy"},
    ]


def test_every_step_is_there_and_back() -> None:
    assert {type(step) for step in EVERY_STEP} == set(STEPS.values())
    assert sorted(STEPS) == NAMES
    there = json.dumps(chain_to_json(EVERY_STEP), allow_nan=False)
    assert chain_from_json(json.loads(there)) == EVERY_STEP


@pytest.mark.parametrize("chain", PRESETS.values(), ids=PRESETS)
def test_presets_go_there_and_back(chain: Chain) -> None:
    assert chain_from_json(json.loads(json.dumps(chain_to_json(chain)))) == chain


def test_order_is_kept() -> None:
    there = [{"step": "top_p", "p": 0.5}, {"step": "temperature", "temperature": 2}]
    assert chain_from_json(there) == (TopP(0.5), Temperature(2))
    assert chain_from_json(there[::-1]) == (Temperature(2), TopP(0.5))


def test_an_empty_chain() -> None:
    assert chain_from_json([]) == chain_from_json(()) == ()
    assert chain_to_json(()) == []


@pytest.mark.parametrize("data", [None, 3, True, "top_p", {"step": "top_p"}, math.nan])
def test_a_chain_is_a_list(data: Any) -> None:
    assert str(refused(data)) == f"chain must be a list of steps, got {data!r}"


@pytest.mark.parametrize("item", [None, 3, "top_p", [], ["step", "top_p"], math.inf])
def test_a_step_is_an_object(item: Any) -> None:
    assert refused([{"step": "greedy"}, item]).parameter == "chain[1]"


@pytest.mark.parametrize("name", ["top_q", "TopP", "", None, 3, [], {}, "\ud800", "top_p\0"])
def test_an_unknown_step_is_named(name: Any) -> None:
    error = refused([{"step": name}])
    assert (error.parameter, error.value) == ("chain[0].step", name)
    assert error.allowed == f"one of {', '.join(NAMES)}"


def test_a_step_without_a_name() -> None:
    assert refused([{"p": 0.9}]).parameter == "chain[0].step"


@pytest.mark.parametrize("field", ["q", "P", "", "k", "\ud800", "label"])
def test_an_unknown_field_is_named(field: str) -> None:
    error = refused([{"step": "top_p", "p": 0.9, field: 1}])
    assert (error.parameter, error.value) == ("chain[0] (top_p) field", field)
    assert error.allowed == "one of p"


def test_greedy_has_no_field() -> None:
    error = refused([{"step": "greedy", "k": 1}])
    assert error.allowed == "absent: this step has no field"


def test_a_missing_field_is_named() -> None:
    error = refused([{"step": "top_k", "k": 1}, {"step": "min_p"}])
    assert (error.parameter, error.allowed) == ("chain[1].min_p", "given for min_p")


@pytest.mark.parametrize(
    ("item", "where"),
    [
        ({"step": "top_p", "p": 1.5}, "chain[1].p"),
        ({"step": "top_p", "p": None}, "chain[1].p"),
        ({"step": "top_k", "k": 2.0}, "chain[1].k"),
        ({"step": "min_p", "min_p": "0.1"}, "chain[1].min_p"),
        ({"step": "temperature", "temperature": math.nan}, "chain[1].temperature"),
        ({"step": "temperature", "temperature": [1]}, "chain[1].temperature"),
    ],
)
def test_a_bad_value_is_named_with_its_place(item: dict[str, Any], where: str) -> None:
    error = refused([{"step": "greedy"}, item])
    assert error.parameter == where
    assert error.value is next(value for key, value in item.items() if key != "step")


def test_a_chain_has_a_longest_length() -> None:
    assert len(chain_from_json([{"step": "greedy"}] * MAX_STEPS)) == MAX_STEPS
    error = refused([{"step": "greedy"}] * (MAX_STEPS + 1))
    assert str(error) == "chain must be at most 64 steps, got '65 steps'"


def test_a_preset_by_name_or_a_chain_as_data() -> None:
    assert resolve_chain("llama3") == (Temperature(0.6), TopP(0.9))
    assert resolve_chain([{"step": "top_k", "k": 3}]) == (TopK(3),)


@pytest.mark.parametrize("name", ["", "Llama3", "\ud800", "top-p"])
def test_an_unknown_preset_is_named_with_all_there_are(name: str) -> None:
    with pytest.raises(ParameterError, match=r"a list of steps or one of .*llama3") as caught:
        resolve_chain(name)
    assert (caught.value.parameter, caught.value.value) == ("chain", name)


def test_presets_are_what_the_tools_do() -> None:
    assert PRESETS["pure"] == ()
    assert PRESETS["greedy"] == (Greedy(),)
    assert TopK(50) in PRESETS["transformers"]
    assert [type(step) for step in PRESETS["transformers"]] == [Temperature, TopK, TopP]
    assert PRESETS["llama_cpp"] == (TopK(40), TopP(0.95), MinP(0.05), Temperature(0.8))
    assert isinstance(PRESETS["vllm"][0], Temperature)
