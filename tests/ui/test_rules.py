"""What the page knows of each rule: its sliders stay within what the rule accepts."""

import json
import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from explorer.decoding import (
    PRESETS,
    STEPS,
    Candidates,
    ParameterError,
    Step,
    chain_from_json,
    chain_to_json,
    decode,
)
from explorer.ui.messages import ASSETS

RULES: dict[str, Any] = json.loads((ASSETS / "rules.json").read_text())
OFFERED = [step for group in RULES["groups"] for step in group["steps"]]
OWN_STATE = {"mu"}  # a rule's own memory, which no field shows
KINDS = {"number", "token_ids", "sequences", "bias", "text", "choice"}
NUMBERS = [
    pytest.param(step, field, id=f"{step}.{field['name']}")
    for step, rule in RULES["steps"].items()
    for field in rule["fields"]
    if field["kind"] == "number"
]
EVERY = pytest.mark.parametrize("step", RULES["steps"])


def starts(step: str) -> dict[str, Any]:
    return {field["name"]: field["start"] for field in RULES["steps"][step]["fields"]}


def made(step: str, values: dict[str, Any]) -> Step:
    """The step as the page sends it: a constraint's pattern goes by its kind."""
    if step == "constraint":
        values = {values["kind"]: values["grammar"]}
    (found,) = chain_from_json([{"step": step, **values}])
    return found


def test_every_rule_but_greedy_is_offered_once() -> None:
    # Greedy is the temperature at 0.
    assert sorted(OFFERED) == sorted(STEPS.keys() - {"greedy"})
    assert RULES["steps"].keys() == STEPS.keys()


def test_the_basic_rules_are_offered_and_can_stand_at_off() -> None:
    for step in RULES["basics"]:
        assert step in OFFERED
        (field,) = RULES["steps"][step]["fields"]
        assert "neutral" in field


def test_strategies_are_presets() -> None:
    names = [*RULES["strategies"], *RULES["elsewhere"]]
    assert sorted(names) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_its_sliders(name: str) -> None:
    for item in chain_to_json(PRESETS[name]):
        ranges = {field["name"]: field for field in RULES["steps"][item["step"]]["fields"]}
        for key, value in item.items():
            if key in ranges:
                assert ranges[key]["min"] <= value <= ranges[key]["max"]


@EVERY
def test_every_field_is_the_rules_own_and_none_is_missing(step: str) -> None:
    told = [field["name"] for field in RULES["steps"][step]["fields"]]
    if step == "constraint":
        assert told == ["kind", "grammar"]
        known = {field.name for field in fields(STEPS[step])}
        assert set(RULES["steps"][step]["fields"][0]["options"]) == known - {"grammar"}
        return
    assert told == [field.name for field in fields(STEPS[step]) if field.name not in OWN_STATE]
    assert len(set(told)) == len(told)


@EVERY
def test_every_field_is_of_a_kind_that_the_page_draws(step: str) -> None:
    drawn = (ASSETS / "js" / "fields.js").read_text()
    for field in RULES["steps"][step]["fields"]:
        assert field["kind"] in KINDS
        assert re.search(rf"\b{field['kind']}: \w+Field\b", drawn)


@EVERY
def test_a_rule_can_be_added_as_it_starts(step: str) -> None:
    assert STEPS[step] is type(made(step, starts(step)))


@EVERY
def test_a_rule_at_off_leaves_everything_as_it_is(step: str) -> None:
    told = RULES["steps"][step]["fields"]
    neutral = {field["name"]: field["neutral"] for field in told if "neutral" in field}
    if not neutral:
        return
    off = made(step, {**starts(step), **neutral})
    context = (0, 1, 2, 0, 1, 2, 3, 3)
    for seed in range(10):
        logits = np.random.default_rng(seed).normal(0, 3, 120)
        before = Candidates(np.arange(120), np.sort(logits)[::-1].copy(), 0, 120)
        after = off(before, context)
        assert after.token_ids.tolist() == before.token_ids.tolist()
        assert after.logits.tolist() == before.logits.tolist()


@EVERY
def test_a_rule_that_starts_does_something(step: str) -> None:
    """Else it would be left out as neutral; words are yet to be typed."""
    told = RULES["steps"][step]["fields"]
    neutral = {field["name"]: field["neutral"] for field in told if "neutral" in field}
    if not neutral or any(field["kind"] in ("bias", "sequences") for field in told):
        return
    assert neutral != {name: starts(step)[name] for name in neutral}
    context = (0, 1, 2, 0, 1, 2, 0)
    acted = made(step, {**starts(step), **({"probability": 1} if step == "xtc" else {})})
    logits = np.log(np.random.default_rng(1).dirichlet([0.05] * 500))
    trace = decode(np.maximum(logits, -40), [acted], context)
    (stage,) = trace.stages
    assert stage.kept.token_ids.tolist() != stage.before.token_ids.tolist() or (
        stage.kept.logits.tolist() != stage.before.logits.tolist()
    )


@pytest.mark.parametrize(("step", "field"), NUMBERS)
def test_a_slider_stays_within_what_the_rule_accepts(step: str, field: dict[str, Any]) -> None:
    assert field["min"] < field["max"] <= field["top"]
    assert field["min"] <= field["start"] <= field["max"]
    assert field["min"] <= field.get("neutral", field["start"]) <= field["max"]
    places = (field["start"] - field["min"]) / field["by"]
    assert places == pytest.approx(round(places), abs=1e-6)
    others = starts(step)
    if field["name"] == "low":  # which must not exceed the other
        others["high"] = field["top"]
    if field["name"] == "high":
        others["low"] = field["min"]
    for value in (field["min"], field["max"], field["start"], field["top"]):
        assert getattr(made(step, {**others, field["name"]: value}), field["name"]) == value


@pytest.mark.parametrize(("step", "field"), NUMBERS)
def test_beyond_the_top_there_is_nothing(step: str, field: dict[str, Any]) -> None:
    """What can be typed ends where the rule's range does, or far beyond any use."""
    if field["top"] >= 100_000 and field["by"] == 1:
        return
    with pytest.raises(ParameterError):
        made(step, {**starts(step), field["name"]: field["top"] * 1.01})


@pytest.mark.parametrize(("step", "field"), NUMBERS)
def test_a_whole_number_has_a_slider_of_whole_numbers(step: str, field: dict[str, Any]) -> None:
    kind = {one.name: one.type for one in fields(STEPS[step])}[field["name"]]
    assert (kind in (int, "int")) == (field["by"] == 1)
