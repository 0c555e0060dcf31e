"""Grammars over small vocabularies, against Python's own `re`, `regex` and `json`."""

import json
import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from explorer.backends import Backend, ScriptedBackend, grammar, grammar_trial
from explorer.decoding import Constraint, decode
from tests.backends.fitting import (
    END,
    VOCABULARIES,
    can_begin,
    plain,
    scripted,
    spelled,
    walk,
    written,
)

REGEXES = [
    "ab*",
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "(東京|大阪|京都)です。",
    "(日本|日中)語?",
    "the (dog|fox)s?",
    r"(a|b\n|c/d|\\e|\"|')+z",
    "[^a-y]{2,3}",
    "é|e\u0301",
    "x{0,3}y?",
    ".",
    "(?i)dog",
    "😀+",
]


@pytest.fixture(autouse=True, scope="module")
def tried_once() -> Iterator[None]:
    """One trial for a grammar, however many vocabularies it is used with here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grammar, "try_out", cache(grammar_trial.try_out))
        yield


@pytest.fixture(params=VOCABULARIES)
def backend(request: pytest.FixtureRequest) -> Backend:
    return VOCABULARIES[request.param]()


def matches(pattern: str, raw: bytes) -> bool:
    try:
        return re.fullmatch(pattern, raw.decode()) is not None
    except UnicodeDecodeError:
        return False


# against regex


@pytest.mark.parametrize("pattern", REGEXES)
def test_allowed_are_exactly_the_tokens_that_can_go_on(backend: Backend, pattern: str) -> None:
    rules = backend.grammar(Constraint(regex=pattern), 0)
    usable = plain(backend)
    rng = np.random.default_rng(5)
    for _ in range(2):
        text: tuple[int, ...] = ()
        while len(text) < 8:
            raw = written(backend, text)
            ends = matches(pattern, raw)
            expected = {i for i in usable if can_begin(pattern, raw + backend.token(i).raw)}
            allowed = rules.allowed(text)
            assert allowed.shape == (backend.info.vocab_size,)
            assert allowed.dtype == np.bool_
            marked = set(np.flatnonzero(allowed).tolist())
            assert marked == expected | (set(backend.info.end_token_ids) if ends else set())
            assert rules.fit(text) == ("complete" if ends and not expected else "open")
            if not expected:
                break
            text = (*text, int(rng.choice(sorted(expected))))


@pytest.mark.parametrize("pattern", REGEXES)
def test_random_texts_match(backend: Backend, pattern: str) -> None:
    rules = backend.grammar(Constraint(regex=pattern), 0)
    for seed in range(10):
        text = walk(backend, rules, np.random.default_rng(seed), most=2000)
        assert re.fullmatch(pattern, written(backend, text).decode())


@pytest.mark.parametrize("pattern", REGEXES)
def test_a_cut_token_breaks_the_text_for_good(backend: Backend, pattern: str) -> None:
    rules = backend.grammar(Constraint(regex=pattern), 0)
    text = walk(backend, rules, np.random.default_rng(1), most=2000)
    cut = np.flatnonzero(~rules.allowed(text[:1]))
    for token_id in np.random.default_rng(0).choice(cut, 20).tolist():
        for after in ((), (cut[0],), text[1:]):
            broken = (*text[:1], token_id, *after)
            assert rules.fit(broken) == "broken"
            assert not rules.allowed(broken).any()
    assert rules.fit(text) in ("open", "complete")


def test_tokens_of_the_same_bytes_are_all_allowed() -> None:
    backend = scripted()
    allowed = backend.grammar(Constraint(regex="abc"), 0).allowed(())
    assert {backend.token(int(i)).raw for i in np.flatnonzero(allowed)} == {b"a", b"ab"}
    assert allowed[4]
    assert allowed[5]


@pytest.mark.parametrize("token_id", [0, 1, END])
def test_special_and_empty_tokens_are_no_text(token_id: int) -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex="(<s>|</s>|(?s:.))+"), 0)
    assert not rules.allowed(())[token_id]
    assert rules.fit((token_id,)) == "broken"


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_an_id_outside_the_vocabulary_breaks_the_text(token_id: int) -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex="(?s:.)*"), 0)
    assert rules.fit((token_id,)) == "broken"
    assert rules.fit((backend.info.vocab_size,)) == "broken"


# where the text begins and ends


def test_the_text_is_what_follows_the_prompt(backend: Backend) -> None:
    prompt = backend.encode("the dog")
    rules = backend.grammar(Constraint(regex="日本"), len(prompt))
    whole = backend.grammar(Constraint(regex="日本"), 0)
    text = walk(backend, whole, np.random.default_rng(3))
    for length in range(len(text) + 1):
        assert rules.fit((*prompt, *text[:length])) == whole.fit(text[:length])
        assert (rules.allowed((*prompt, *text[:length])) == whole.allowed(text[:length])).all()


def test_a_context_that_ends_within_the_prompt_has_no_text(backend: Backend) -> None:
    rules = backend.grammar(Constraint(regex="ab"), 5)
    for context in ((), (7,), (7, 7, 7, 7, 7)):
        assert rules.fit(context) == "open"
        assert (rules.allowed(context) == rules.allowed(())).all()


def test_an_end_token_ends_a_text_that_may_end() -> None:
    rules = scripted().grammar(Constraint(regex="a*"), 0)
    a = scripted().encode("a")[-1]
    for text in ((), (a,), (a, a)):
        assert rules.fit(text) == "open"
        assert rules.allowed(text)[END]
        for after in ((), (END,), (a, 77, 0)):
            ended = (*text, END, *after)
            assert rules.fit(ended) == "complete"
            assert np.flatnonzero(rules.allowed(ended)).tolist() == [END]


def test_an_end_token_breaks_a_text_that_may_not_end() -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex="aa"), 0)
    a = backend.encode("a")[-1]
    assert rules.fit((a, END)) == "broken"
    assert rules.fit((a, END, a)) == "broken"
    assert not rules.allowed((a, END)).any()
    assert np.flatnonzero(rules.allowed((a, a))).tolist() == [END]


def test_each_of_several_end_tokens_ends() -> None:
    letters = [bytes([byte]) for byte in range(97, 123)]
    backend = ScriptedBackend(letters, end_token_ids=(24, 25))
    rules = backend.grammar(Constraint(regex="[a-z]"), 0)
    assert np.flatnonzero(rules.allowed(())).tolist() == list(range(24))
    assert np.flatnonzero(rules.allowed((0,))).tolist() == [24, 25]
    assert [rules.fit((0, end)) for end in (24, 25)] == ["complete", "complete"]


def test_without_an_end_token_a_complete_text_allows_nothing() -> None:
    backend = ScriptedBackend([b"a", b"b"], {(0,): [0.4, 0.6]})
    rules = backend.grammar(Constraint(regex="a"), 0)
    assert rules.allowed(()).tolist() == [True, False]
    assert rules.fit((0,)) == "complete"
    assert not rules.allowed((0,)).any()
    step = Constraint(regex="a").bound(rules)
    assert decode(backend.next_distribution((0,)), [step], (0,)).final.token_ids.tolist() == [1]


def test_a_text_that_the_vocabulary_cannot_finish_stays_open() -> None:
    backend = ScriptedBackend([b"a", b"b"])
    rules = backend.grammar(Constraint(regex="ab?ac|aab"), 0)
    assert rules.fit((0, 1)) == "open"
    assert rules.fit((0, 1, 0)) == "open"
    assert not rules.allowed((0, 1, 0)).any()
    assert rules.fit((0, 1, 0, 0)) == "broken"
    assert rules.fit((0, 0, 1)) == "complete"


def test_bytes_make_a_character_of_a_schema() -> None:
    backend = ScriptedBackend([bytes([byte]) for byte in range(256)])
    rules = backend.grammar(Constraint(json_schema='{"const": "日"}'), 0)
    text = '"日"'.encode()
    for length in range(len(text)):
        assert np.flatnonzero(rules.allowed(tuple(text[:length])))[0] == text[length]
    assert rules.fit(tuple(text)) == "complete"


def test_digits_and_words_are_those_of_unicode() -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex=r"\d\w\s"), 0)
    for text in ("1a ", "٣日\u3000"):
        assert re.fullmatch(r"\d\w\s", text)
        assert rules.fit(spelled(backend, text)) == "complete"
    assert rules.fit(spelled(backend, "1-")) == "broken"


# JSON


def check_person(value: object) -> None:
    assert isinstance(value, dict)
    assert list(value)[:2] == ["都市", "n"]
    assert value.keys() <= {"都市", "n", "tags", "on"}
    assert value["都市"] in ("東京", "大阪", 'a"b\\')
    assert type(value["n"]) is int
    assert -5 <= value["n"] <= 120
    assert all(isinstance(tag, str) and len(tag) <= 3 for tag in value.get("tags", ()))
    assert len(value.get("tags", ())) <= 2
    assert value.get("on") in (None, True, False)


PERSON = json.dumps(
    {
        "type": "object",
        "properties": {
            "都市": {"enum": ["東京", "大阪", 'a"b\\']},
            "n": {"type": "integer", "minimum": -5, "maximum": 120},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
            "on": {"type": ["boolean", "null"]},
        },
        "required": ["都市", "n"],
        "additionalProperties": False,
    }
)


def test_random_texts_fit_the_schema(backend: Backend) -> None:
    rules = backend.grammar(Constraint(json_schema=PERSON), 0)
    for seed in range(15):
        text = walk(backend, rules, np.random.default_rng(seed), most=2000)
        check_person(json.loads(written(backend, text).decode()))


@pytest.mark.parametrize(
    ("schema", "fitting", "breaking"),
    [
        ("true", ['{"a": [1, null]}', "-0.5e3", '"日"'], ["a", " 1", "[1,]", "01"]),
        ('{"type": "number"}', ["1", "1.5"], ['"1"', "true"]),
        ('{"type": "string", "format": "date"}', ['"2024-02-28"'], ['"2024-13"', '"2-']),
        ('{"anyOf": [{"const": 1}, {"const": null}]}', ["1", "null"], ["2", "nil"]),
        (
            '{"$ref": "#/$defs/t", '
            '"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}',
            ["[]", "[[], [[]]]", "[\n]"],
            ["[1", "{}"],
        ),
    ],
)
def test_texts_and_schemas(
    backend: Backend, schema: str, fitting: list[str], breaking: list[str]
) -> None:
    rules = backend.grammar(Constraint(json_schema=schema), 0)
    for text in fitting:
        json.loads(text)
        token_ids = spelled(backend, text)
        assert rules.fit(token_ids) != "broken"
        assert rules.allowed(token_ids)[list(backend.info.end_token_ids)].all()
    for text in breaking:
        assert rules.fit(spelled(backend, text)) == "broken"


ARRAY = {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "fitting", "breaking"),
    [
        (ARRAY, ["[1,2]", "[ 1 , 2 ]", "[\n  1,\n\t2\n]"], ["[  ", "[\n\n", "[ \n", "[\r", " ["]),
        ({**ARRAY, "x-guidance": {"whitespace_flexible": False}}, ["[1,2]"], ["[ ", "[1, "]),
        ({**ARRAY, "x-guidance": {}}, ["[  \r\n\n 1]"], ["\n["]),
    ],
)
def test_white_space_is_bounded_unless_the_schema_says_otherwise(
    schema: dict[str, object], fitting: list[str], breaking: list[str]
) -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(json_schema=json.dumps(schema)), 0)
    assert {rules.fit(spelled(backend, text)) for text in fitting} == {"complete"}
    assert {rules.fit(spelled(backend, text)) for text in breaking} == {"broken"}
