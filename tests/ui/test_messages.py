"""Texts: the same in both languages, and there for everything that is said."""

import ast
import inspect
import json
import math
import re
from pathlib import Path
from typing import get_args

import pytest

from explorer.backends import base, loading
from explorer.backends.base import BackendError, ContextTooLong, LoadPhase, ModelUnavailable
from explorer.decoding import PRESETS, STEPS, ParameterError
from explorer.session.reading import Stop
from explorer.session.tree import How
from explorer.ui.messages import ASSETS, LANGUAGES, Refused, error_facts, texts

EN, JA = (json.loads((ASSETS / "texts" / f"{language}.json").read_text()) for language in LANGUAGES)
SCRIPTS = sorted((ASSETS / "js").glob("*.js"))
BOTH = pytest.mark.parametrize("language", LANGUAGES)


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def codes() -> set[str]:
    kinds = {
        kind
        for _, kind in inspect.getmembers(base, inspect.isclass)
        if issubclass(kind, BackendError)
    }
    reasons = {f"model_{reason}" for reason in get_args(base.Reason)}
    return reasons | {kind.code for kind in kinds - {BackendError, ModelUnavailable}}


def used_keys() -> set[str]:
    """Keys that the scripts and the page name in full."""
    found: set[str] = set()
    for script in SCRIPTS:
        found |= set(re.findall(r"\bt\('(\w+)'\s*[,)]", script.read_text()))
    return found | set(re.findall(r'data-t(?:-\w+)?="([^"]*)"', (ASSETS / "page.html").read_text()))


def strategies() -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads((ASSETS / "strategies.json").read_text())
    return found


def test_both_languages_have_the_same_texts() -> None:
    assert EN.keys() == JA.keys()


def test_both_languages_fill_in_the_same_values() -> None:
    assert {key: placeholders(text) for key, text in EN.items()} == {
        key: placeholders(text) for key, text in JA.items()
    }


@BOTH
def test_no_text_is_empty_or_twice_there(language: str) -> None:
    path = ASSETS / "texts" / f"{language}.json"
    pairs = json.loads(path.read_text(), object_pairs_hook=list)
    assert len({key for key, _ in pairs}) == len(pairs)
    assert all(text.strip() for _, text in pairs)


@BOTH
def test_braces_hold_names_only(language: str) -> None:
    for text in texts(language).values():
        assert not re.search(r"[{}]", re.sub(r"\{\w+\}", "", text))


def test_japanese_is_japanese() -> None:
    same = {key for key in EN if EN[key] == JA[key]}
    assert len(same) < len(EN) / 10


@BOTH
@pytest.mark.parametrize("code", sorted(codes()))
def test_every_error_of_a_backend_has_a_text(code: str, language: str) -> None:
    assert f"error_{code}" in texts(language)


@BOTH
@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_a_text(name: str, language: str) -> None:
    assert f"step_{name}" in texts(language)


def test_every_text_the_page_names_is_there() -> None:
    assert len(used_keys()) > 80
    assert used_keys() <= EN.keys()


def test_every_text_the_page_puts_together_is_there() -> None:
    built = {f"strategy_{preset['name']}" for preset in strategies()["presets"]}
    built |= {f"{key}_title" for key in built} | {"strategy_custom", "strategy_custom_title"}
    built |= {f"slider_{slider['name']}" for slider in strategies()["sliders"]}
    built |= {f"loading_{phase}" for phase in get_args(LoadPhase) if phase != "failed"}
    built |= {f"how_{how}" for how in (*get_args(How), "prompt")}
    built |= set(get_args(Stop))
    built |= {"error_connection", "error_session_gone", "error_parameter"}
    assert built <= EN.keys()


def test_every_shortcut_has_a_text() -> None:
    keys = re.findall(r"^  \['[^']+', '(\w+)',", (ASSETS / "js" / "keys.js").read_text(), re.M)
    assert len(keys) > 10
    assert set(keys) <= EN.keys()


def test_every_beginning_of_a_key_that_the_scripts_use_is_known() -> None:
    found = {
        prefix
        for script in SCRIPTS
        for prefix in re.findall(r"\b(?:t|has)\('(\w+)'\s*\+", script.read_text())
    }
    assert found == {"strategy_", "slider_", "loading_", "how_", "step_"}


def test_strategies_name_steps_and_presets_that_exist() -> None:
    for slider in strategies()["sliders"]:
        assert str(slider["field"]) in STEPS[str(slider["step"])].__dataclass_fields__
    sliders = {slider["name"] for slider in strategies()["sliders"]}
    for preset in strategies()["presets"]:
        assert preset["name"] in PRESETS
        assert set(preset["values"]) <= sliders  # type: ignore[call-overload]


def reasons(argument: ast.expr) -> list[str]:
    """The codes of a `ModelUnavailable`: the one it is made with, or all it may be made with."""
    if isinstance(argument, ast.Constant):
        return [f"model_{argument.value}"]
    return ["model_not_loadable", *(f"model_{reason}" for reason, _ in loading._CAUSES)]


def values_given() -> list[tuple[str, str, set[str]]]:
    """Where an error is made, its code, and the names of the values that it is made with."""
    found = []
    for path in sorted(Path(base.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            kind = getattr(base, node.func.id, None)
            if not (inspect.isclass(kind) and issubclass(kind, BackendError)):
                continue
            if kind is ContextTooLong:  # which names its values itself
                continue
            codes = [kind.code] if kind is not ModelUnavailable else reasons(node.args[0])
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            found += [(f"{path.name}:{code}", code, given) for code in codes]
    return found


@pytest.mark.parametrize(
    ("code", "given"), [pytest.param(*rest, id=where) for where, *rest in values_given()]
)
def test_a_text_fills_in_only_values_that_the_error_comes_with(code: str, given: set[str]) -> None:
    assert placeholders(EN[f"error_{code}"]) <= given


def test_texts_are_read_by_language() -> None:
    assert texts("en") == EN
    assert texts("ja") == JA


def test_a_refusal_says_itself_in_english() -> None:
    error = error_facts(Refused("session_gone"))
    assert error == {"code": "session_gone", "facts": {}, "message": EN["error_session_gone"]}


def test_a_parameter_error_as_facts() -> None:
    assert error_facts(ParameterError("p", 1.5, "a number from 0 to 1")) == {
        "code": "parameter",
        "facts": {"parameter": "p", "value": "1.5", "allowed": "a number from 0 to 1"},
        "message": "p must be a number from 0 to 1, got 1.5",
    }
    assert placeholders(EN["error_parameter"]) == {"parameter", "value", "allowed"}


def test_a_backend_error_as_facts() -> None:
    assert error_facts(ContextTooLong(9, 8)) == {
        "code": "context_too_long",
        "facts": {"length": 9, "limit": 8},
        "message": "the prefix has 9 tokens; the model's context holds 8",
    }


def test_facts_are_numbers_and_text() -> None:
    error = ModelUnavailable("no_space", "full", folder=Path("/x"), free=5, needed=None)
    facts = error_facts(error)["facts"]
    assert facts == {"folder": "/x", "free": 5, "needed": "None"}


@pytest.mark.parametrize("value", [math.nan, math.inf, None, [1], {}])
def test_the_facts_of_a_parameter_error_are_json(value: object) -> None:
    json.dumps(error_facts(ParameterError("p", value, "a number")), allow_nan=False)
