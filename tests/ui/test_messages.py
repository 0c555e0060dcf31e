"""Texts: the same in both languages, and there for everything that is said."""

import ast
import inspect
import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from explorer.backends import base, loading
from explorer.backends.base import (
    BackendError,
    ContextTooLong,
    GrammarRefused,
    LoadPhase,
    ModelUnavailable,
    RemoteFailed,
)
from explorer.decoding import STEPS, Fit, ParameterError, Reason, parameters
from explorer.decoding.measure import Keeps, Quantity
from explorer.session.cover import Ending
from explorer.session.reading import Stop
from explorer.session.state import Code
from explorer.session.tree import How
from explorer.ui import messages
from explorer.ui.ahead import KINDS
from explorer.ui.arguments import chain_argument
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
    reasons |= {f"remote_{reason}" for reason in get_args(base.RemoteReason)}
    named = kinds - {BackendError, ModelUnavailable, RemoteFailed}
    return reasons | {kind.code for kind in named}


def calls(script: str) -> list[str]:
    """What each call of `t` in a script is given first, quotes and all."""
    found = []
    for start in re.finditer(r"(?<![\w.])t\(", script):
        depth, end = 1, start.end()
        while depth and not (depth == 1 and script[end] == ","):
            depth += {"(": 1, ")": -1}.get(script[end], 0)
            end += 1
        found.append(
            script[start.end() : end].rstrip(")") if depth == 0 else script[start.end() : end]
        )
    return found


def every_call() -> list[str]:
    return [call for script in SCRIPTS for call in calls(script.read_text())]


def used_keys() -> set[str]:
    """Keys that the scripts and the page name in full."""
    found: set[str] = set()
    for call in every_call():
        if "+" not in call:  # of a condition, what stands before its question mark is no key
            found |= set(re.findall(r"'(\w+)'", call.split("?", 1)[-1]))
    return found | set(re.findall(r'data-t(?:-\w+)?="([^"]*)"', (ASSETS / "page.html").read_text()))


def rules() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ASSETS / "rules.json").read_text())
    return found


def fields_of(step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rules()["steps"][step]["fields"]
    return found


def limits() -> set[str]:
    """The kinds of what a parameter may be that are told as data."""
    source = Path(parameters.__file__).read_text()
    return set(re.findall(r'"kind": "(\w+)"', source))


def colours() -> list[str]:
    """What the strip can be coloured by."""
    return re.findall(r"^  (\w+): \{ ends:", (ASSETS / "js" / "strip.js").read_text(), re.M)


def shortcuts() -> list[str]:
    return re.findall(r"^  \['[^']+', '(\w+)',", (ASSETS / "js" / "keys.js").read_text(), re.M)


def dials() -> set[str]:
    """Keys that the cockpit lists beside what it shows."""
    return set(re.findall(r"'(dial_\w+)'", (ASSETS / "js" / "cockpit.js").read_text()))


def built_keys() -> set[str]:
    """Keys that the scripts put together, from all that they can be put together from."""
    names = {*rules()["strategies"], *rules()["elsewhere"], "custom"}
    every = [field for step in STEPS for field in fields_of(step)]
    words = {field["kind"] for field in every} & {"sequences", "token_ids", "bias"}
    built = {f"strategy_{name}{end}" for name in names for end in ("", "_title")}
    built |= {f"step_{step}" for step in STEPS} | {f"about_{step}" for step in STEPS}
    # A rule with one slider has it beside its name; a change names every parameter by its field.
    built |= {f"field_{field['name']}" for field in every}
    built |= {f"group_{group['name']}" for group in rules()["groups"]}
    built |= {f"quantity_{quantity}" for quantity in get_args(Quantity)}
    built |= {f"miss_{keeps}" for keeps in get_args(Keeps)}
    built |= {f"option_{option}" for field in every for option in field.get("options", [])}
    built |= {f"{key}_{kind}" for kind in words for key in ("several_tokens", "word_hint")}
    built |= {f"fit_{fit}" for fit in get_args(Fit) if fit != "open"}
    built |= {f"loading_{phase}" for phase in get_args(LoadPhase) if phase != "failed"}
    built |= {f"how_{how}" for how in (*get_args(How), "prompt")}
    built |= {f"differs_{what}" for what in ("model", "revision", "dtype", "numbers")}
    built |= {f"colour_{name}" for name in colours()}
    built |= {f"way_{how}" for how in get_args(How)}
    built |= {f"allowed_{kind}" for kind in limits()}
    built |= {f"because_{reason}" for reason in get_args(Reason)}
    kinds = ("beam", "cover", "side")  # of a look-ahead
    built |= {f"ahead_about_{kind}" for kind in kinds}
    built |= {f"ahead_says_{ending}" for ending in (*get_args(Ending), "covering")}
    built |= {f"ahead_way_{kind}" for kind in KINDS if kind != "cover"}
    built |= {f"ahead_field_{name}" for name in ("width", "depth", "penalty", "share", "nodes")}
    built |= {f"{key}_title" for key in dials() - LABELS_ONLY}
    return built | set(get_args(Stop)) | set(shortcuts()) | dials()


LABELS_ONLY = {"dial_of", "dial_chart_label", "dial_point"}  # of the cockpit: no dial of their own
PREFIXES = {
    "strategy_": "strategies",
    "step_": "steps",
    "because_": "reasons",
    "about_": "steps",
    "ahead_about_": "look-ahead kinds",
    "ahead_says_": "endings",
    "ahead_way_": "look-ahead kinds",
    "ahead_field_": "look-ahead fields",
    "field_": "fields",
    "group_": "groups",
    "quantity_": "quantities",
    "miss_": "lines",
    "option_": "options",
    "several_tokens_": "words",
    "word_hint_": "words",
    "fit_": "fits",
    "loading_": "phases",
    "how_": "ways",
    "allowed_": "limits",
    "way_": "ways",
    "colour_": "colours",
    "differs_": "differences",
}


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
    # Symbols and names of methods are the same everywhere; sentences never are.
    japanese = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
    plain = {key for key in JA if not japanese.search(JA[key])}
    named = {key for key in plain if key.startswith(("field_", "step_", "strategy_", "dial_"))}
    assert not {key for key in named if key.endswith("_title")}
    assert len(plain - named) < len(EN) / 20
    for key in plain:
        assert len(re.findall(r"[A-Za-z]{3,}", re.sub(r"\{\w+\}", "", JA[key]))) < 4, key


@BOTH
@pytest.mark.parametrize("code", sorted(codes()))
def test_every_error_of_a_backend_has_a_text(code: str, language: str) -> None:
    assert f"error_{code}" in texts(language)


@BOTH
@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_a_text(name: str, language: str) -> None:
    assert f"step_{name}" in texts(language)


def test_every_text_the_page_names_is_there() -> None:
    assert len(used_keys()) > 150
    assert used_keys() <= EN.keys()


def test_every_text_the_page_puts_together_is_there() -> None:
    assert len(built_keys()) > 150
    assert built_keys() <= EN.keys()


def test_every_text_is_used() -> None:
    said = {"error_connection", "login", *(key for key in EN if key.startswith("error_"))}
    assert EN.keys() - used_keys() - built_keys() - said == set()


def over_limit() -> set[str]:
    """The limits that are said to be exceeded in words of their own."""
    sources = [path.read_text() for path in sorted(Path(messages.__file__).parent.glob("*.py"))]
    found = {name for source in sources for name in re.findall(r'OverLimit\("(\w+)"', source)}
    return found | {"file_characters", "link_characters"}


def test_every_error_text_is_of_an_error() -> None:
    refusals = {
        code
        for path in sorted((Path(base.__file__).parents[1]).glob("*/*.py"))
        for code in re.findall(r'(?<!\w)Refused\(\s*"(\w+)"', path.read_text())
    }
    refusals |= {f"limit_{name}" for name in over_limit()}
    states = set(get_args(Code))
    own = {call for call in used_keys() if call.startswith("error_")}
    known = {f"error_{code}" for code in codes() | refusals | states | {"parameter", "connection"}}
    assert refusals >= {"session_gone", "token_not_known", "no_draw"}
    assert {key for key in EN if key.startswith("error_")} == known | own


def test_every_shortcut_has_a_text() -> None:
    assert len(shortcuts()) > 10
    assert len(set(shortcuts())) == len(shortcuts())


def test_every_beginning_of_a_key_that_the_scripts_use_is_known() -> None:
    found = {
        prefix
        for script in SCRIPTS
        for prefix in re.findall(r"\b(?:t|has)\('(\w+)'\s*\+", script.read_text())
    }
    assert found == PREFIXES.keys()


def test_a_text_fills_in_the_values_that_the_scripts_give_it() -> None:
    for script in SCRIPTS:
        for key, given in re.findall(
            r"(?<![\w.])t\('(\w+)', \{ ([^{}()?]*) \}\)", script.read_text()
        ):
            names = {part.split(":")[0].strip() for part in given.split(",")}
            assert placeholders(EN[key]) <= names, key


def reasons(kind: type[BackendError], argument: ast.expr) -> list[str]:
    """The codes of an error with reasons: the one it is made with, or all it may be made with."""
    if isinstance(argument, ast.Constant):
        return [f"{'remote' if kind is RemoteFailed else 'model'}_{argument.value}"]
    assert kind is ModelUnavailable
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
            if kind in (ContextTooLong, GrammarRefused):  # which name their values themselves
                continue
            several = kind in (ModelUnavailable, RemoteFailed)
            codes = reasons(kind, node.args[0]) if several else [kind.code]
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


def test_a_refused_grammar_as_facts() -> None:
    facts = error_facts(GrammarRefused("json_schema", "not JSON"))
    assert facts["code"] == "grammar_refused"
    assert facts["facts"] == {"kind": "json_schema", "detail": "not JSON"}
    assert placeholders(EN["error_grammar_refused"]) <= facts["facts"].keys()


def test_a_parameter_error_as_facts() -> None:
    assert error_facts(ParameterError("p", 1.5, "a number from 0 to 1")) == {
        "code": "parameter",
        "facts": {"parameter": "p", "value": "1.5", "allowed": "a number from 0 to 1"},
        "message": "p must be a number from 0 to 1, got 1.5",
    }
    assert placeholders(EN["error_parameter"]) == {"parameter", "value", "allowed"}


def test_what_is_allowed_comes_as_data_for_every_language() -> None:
    with pytest.raises(ParameterError) as raised:
        chain_argument([{"step": "top_p", "p": 1.5}])
    facts = error_facts(raised.value)["facts"]
    assert facts["parameter"] == "chain[0].p" and facts["allowed"] == "a number from 0 to 1"
    assert {key: facts[key] for key in ("kind", "low", "high")} == {
        "kind": "number",
        "low": 0,
        "high": 1,
    }
    with pytest.raises(ParameterError) as raised:
        chain_argument([{"step": "top_q"}])
    assert "min_p" in error_facts(raised.value)["facts"]["names"]
    assert limits() == {"number", "whole", "one_of"}


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
