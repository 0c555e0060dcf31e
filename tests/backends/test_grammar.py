"""Grammars over small vocabularies, against Python's own `re`, `regex` and `json`."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import pytest

from explorer.backends import Backend, ScriptedBackend, grammar, grammar_trial
from explorer.backends.base import GrammarRefused, Token
from explorer.decoding import Constraint, Grammar, decode
from tests.backends import tiny
from tests.backends.fitting import can_begin

END = 3


def scripted() -> ScriptedBackend:
    """All bytes, some longer pieces twice, an empty one, and an end that reads like text."""
    pieces = [
        b"<s>",
        b"",
        b"pad",
        b"</s>",
        b"ab",
        b"ab",
        "日本".encode(),
        b"\xe6\x97",
        b'{"',
        b'":',
    ]
    return ScriptedBackend(
        [*pieces, *(bytes([byte]) for byte in range(256))],
        special=[0],
        bos_token_id=0,
        end_token_ids=(END,),
    )


VOCABULARIES: dict[str, Callable[[], Backend]] = {
    "scripted": scripted,
    "byte-level": lambda: tiny.backend("llama"),
    "SentencePiece": lambda: tiny.backend("gemma3"),
}
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


def written(backend: Backend, token_ids: Sequence[int]) -> bytes:
    return b"".join(backend.token(token_id).raw for token_id in token_ids)


def all_tokens(backend: Backend) -> list[Token]:
    return [backend.token(token_id) for token_id in range(backend.info.vocab_size)]


def fresh(backend: Backend) -> grammar.GrammarMaker:
    """A maker for the backend's vocabulary that has seen nothing yet."""
    return grammar.GrammarMaker(backend.info, lambda: all_tokens(backend))


def matches(pattern: str, raw: bytes) -> bool:
    try:
        return re.fullmatch(pattern, raw.decode()) is not None
    except UnicodeDecodeError:
        return False


def plain(backend: Backend) -> list[int]:
    """Tokens that can be part of a text."""
    ends = backend.info.end_token_ids
    return [
        token.token_id
        for token in all_tokens(backend)
        if token.raw and not token.special and token.token_id not in ends
    ]


def walk(
    backend: Backend, rules: Grammar, rng: np.random.Generator, most: int = 200
) -> tuple[int, ...]:
    """Random allowed tokens until an end token, or until nothing else is left to do."""
    text: tuple[int, ...] = ()
    while len(text) < most:
        token_ids = np.flatnonzero(rules.allowed(text))
        # White space is free in JSON; among few tokens it would be most of the text.
        ink = [i for i in token_ids if not backend.token(int(i)).raw.isspace()]
        choice = int(rng.choice(ink or token_ids))
        if choice in backend.info.end_token_ids:
            return text
        text = (*text, choice)
    raise AssertionError(f"no end after {written(backend, text)!r}")


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


def spelled(backend: Backend, text: str) -> tuple[int, ...]:
    """One token a byte."""
    by_byte = {backend.token(i).raw: i for i in plain(backend)}
    return tuple(by_byte[bytes([byte])] for byte in text.encode())


# what is kept


def test_the_order_of_questions_changes_no_answer(backend: Backend) -> None:
    constraint = Constraint(regex="((日本|the)[a-z]{1,9} ?){1,9}")
    rules = backend.grammar(constraint, 0)
    rng = np.random.default_rng(8)
    texts: list[tuple[int, ...]] = []
    for _ in range(6):
        text: tuple[int, ...] = ()
        for _ in range(20):
            texts.append(text)
            token_ids = np.flatnonzero(rules.allowed(text))
            if not len(token_ids) or rng.random() < 0.05:
                token_ids = np.arange(backend.info.vocab_size)
            text = (*text, int(rng.choice(token_ids)))
    afresh = [fresh(backend).make(constraint, 0) for _ in texts]
    answers = [(one.fit(text), one.allowed(text)) for one, text in zip(afresh, texts, strict=True)]
    shared = fresh(backend).make(constraint, 0)
    for number in rng.permutation(len(texts)):
        fit, allowed = answers[number]
        assert shared.fit(texts[number]) == fit
        assert (shared.allowed(texts[number]) == allowed).all()
    assert {fit for fit, _ in answers} >= {"open", "broken"}


def test_a_grammar_is_compiled_once_and_a_text_read_once(monkeypatch) -> None:
    tried, read = [], []
    try_out, find = grammar.try_out, grammar.Engine._find
    monkeypatch.setattr(grammar, "try_out", lambda lark: tried.append(lark) or try_out(lark))
    monkeypatch.setattr(
        grammar.Engine, "_find", lambda engine, text: read.append(text) or find(engine, text)
    )
    backend = scripted()
    a = backend.encode("a")[-1]
    for start in (0, 1, 2):
        rules = backend.grammar(Constraint(regex="a+"), start)
        for _ in range(3):
            rules.fit((a,) * (start + 2))
            rules.allowed((a,) * (start + 2))
    assert len(tried) == 1
    assert read == [(a, a)]
    for _ in range(2):
        with pytest.raises(GrammarRefused, match="unclosed group"):
            backend.grammar(Constraint(regex="a("), 0)
    assert len(tried) == 2


def test_the_vocabulary_is_read_once_and_only_for_a_constraint() -> None:
    backend, asked = scripted(), []
    maker = grammar.GrammarMaker(backend.info, lambda: asked.append(1) or all_tokens(backend))
    assert asked == []
    for pattern in ("a", "b", "a"):
        maker.make(Constraint(regex=pattern), 0).fit(())
    assert asked == [1]


def test_what_is_kept_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(grammar, "GRAMMARS", 2)
    monkeypatch.setattr(grammar, "TEXTS", 4)
    backend = scripted()
    for pattern in ("a+", "b+", "c+", "a+"):
        rules = backend.grammar(Constraint(regex=pattern), 0)
        token_id = backend.encode(pattern[0])[-1]
        for _ in range(2):
            for length in range(8):
                assert rules.fit((token_id,) * length) == "open"
                assert rules.fit((token_id,) * length + (token_id + 1,)) == "broken"
        assert len(rules.engine._places) == 4
    assert len(backend._grammars._engines) == 2


def test_threads_get_the_same_answers(backend: Backend) -> None:
    constraint = Constraint(regex="((the|日本)[a-z]{1,9} ?){1,9}")
    alone = fresh(backend).make(constraint, 0)
    texts = [walk(backend, alone, np.random.default_rng(seed))[:12] for seed in range(6)]
    shared, wrong, ready = fresh(backend), [], threading.Barrier(6)

    def ask(text: tuple[int, ...]) -> None:
        ready.wait()
        rules = shared.make(constraint, 0)
        for length in (*range(len(text)), *range(len(text), 0, -1)):
            part = text[:length]
            same = rules.fit(part) == alone.fit(part)
            if not (same and (rules.allowed(part) == alone.allowed(part)).all()):
                wrong.append(part)

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# what is refused


@pytest.mark.parametrize(
    ("pattern", "detail"),
    [
        ("a(", "unclosed group"),
        ("a\\", "incomplete escape"),
        ("a[", "unclosed character class"),
        ("*", "missing expression"),
        (r"a\b", "lookarounds not supported"),
        ("a(?=b)", "look-around"),
        (r"(a)\1", "backreferences are not supported"),
        ("a^b", "lookarounds not supported"),
        (r"[^\s\S]", "no text fits"),
        ("\ud800", "lone surrogate at position 0"),
        ("(" * 5000 + ")" * 5000, "nest"),
    ],
)
def test_regexes_that_are_refused(pattern: str, detail: str) -> None:
    with pytest.raises(GrammarRefused, match=detail) as caught:
        scripted().grammar(Constraint(regex=pattern), 0)
    check_refusal(caught.value, "regex")


@pytest.mark.parametrize(
    ("schema", "detail"),
    [
        ("{", "not JSON: Expecting property name"),
        ("nope", "not JSON"),
        ('{"type": "object"} {}', "not JSON: Extra data"),
        ("[1]", "must be an object or boolean"),
        ("null", "must be an object or boolean"),
        ('{"const": NaN}', "not JSON compliant"),
        ('{"const": ' + "9" * 5000 + "}", "4300"),
        ('{"const": "\\ud800"}', "hex escape"),
        ("[" * 10_000 + "]" * 10_000, "nested too deeply|recursion limit"),
        ('{"not":' * 200 + "true" + "}" * 200, "recursion limit"),
        ('{"type": "foo"}', "Invalid type: foo"),
        ("false", "Unsatisfiable"),
        ('{"enum": []}', "Unsatisfiable"),
        ('{"type": "integer", "minimum": 5, "maximum": 3}', "Unsatisfiable"),
        ('{"not": {"type": "string"}}', "Unimplemented keys"),
        ('{"type": "string", "x-guidance": {"lenient": true}, "not": {}}', "Unimplemented keys"),
        ('{"$ref": "http://example.com/schema"}', "does not fetch"),
        ('{"$ref": "file:///etc/hostname"}', "does not fetch"),
        ('{"$ref": "#"}', "no text fits"),
        ('{"type": "string", "pattern": "(a"}', "unclosed group"),
    ],
)
def test_schemas_that_are_refused(schema: str, detail: str) -> None:
    with pytest.raises(GrammarRefused, match=detail) as caught:
        scripted().grammar(Constraint(json_schema=schema), 0)
    check_refusal(caught.value, "json_schema")


def check_refusal(error: GrammarRefused, kind: str) -> None:
    assert error.code == "grammar_refused"
    assert error.facts.keys() == {"kind", "detail"}
    assert error.facts["kind"] == kind
    detail = error.facts["detail"]
    assert 0 < len(detail) <= 300
    assert "\n" not in detail
    assert "no_forcing" not in detail
    assert str(error).endswith(detail)


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(json_schema='{"type": "integer", "multipleOf": 9999991}'),
        Constraint(
            json_schema=json.dumps(
                {"allOf": [{"type": "string", "pattern": f".*{i}.*"} for i in range(20)]}
            )
        ),
    ],
    ids=["remainders", "intersection"],
)
def test_schemas_that_would_take_all_memory_are_refused(constraint: Constraint) -> None:
    with pytest.raises(GrammarRefused, match="more than 3 s or 256 MB"):
        scripted().grammar(constraint, 0)


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(regex="(a{1,1000}){1,1000}"),
        Constraint(regex="(.*a){500}"),
        Constraint(regex="(.*a.{20})+"),
        Constraint(regex=r"(\w{1,50}\s){1,200}"),
        Constraint(regex=r"(\w{0,30}[a-z]){0,40}"),
        Constraint(regex="((a{0,100}b{0,100}){0,100}c){0,100}"),
        Constraint(regex="(x+x+)+y"),
        Constraint(regex="a?" * 9000),
        Constraint(regex="(?:" + "|".join(f"w{i}" for i in range(2500)) + ")*"),
        Constraint(json_schema='{"type": "array", "items":' * 60 + "true" + "}" * 60),
        Constraint(json_schema='{"type": "string", "pattern": "^.*a.{20}$", "maxLength": 40}'),
        Constraint(json_schema='{"type": "array", "minItems": 100000}'),
    ],
    ids=lambda constraint: repr(constraint)[:60],
)
def test_hostile_grammars_end_with_an_answer_or_a_refusal(constraint: Constraint) -> None:
    backend, rng = scripted(), np.random.default_rng(2)
    try:
        rules = backend.grammar(constraint, 0)
        text: tuple[int, ...] = ()
        for _ in range(60):
            token_ids = np.flatnonzero(rules.allowed(text))
            if not len(token_ids):
                break
            text = (*text, int(rng.choice(token_ids)))
            assert rules.fit(text) != "broken"
    except GrammarRefused as error:
        check_refusal(error, "regex" if constraint.regex else "json_schema")


def test_a_limit_met_within_a_text_is_a_refusal_and_no_broken_text() -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex=r"(\w{0,30}[a-z]){0,40}"), 0)
    text = spelled(backend, "hello" * 60)
    for _ in range(2):
        with pytest.raises(GrammarRefused, match="too complex to go on after 300 tokens") as caught:
            rules.fit(text)
        check_refusal(caught.value, "regex")
    assert rules.fit(text[:2]) == "open"  # what was within the limits still is
    assert rules.fit(spelled(backend, "h-")) == "broken"


def test_a_lexer_that_grew_too_large_is_made_anew(monkeypatch) -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex="[a-z]+"), 0)
    text, calls = spelled(backend, "abc"), []
    walk_to = grammar.Engine._walk

    def fail_once(engine: grammar.Engine, text: tuple[int, ...]) -> grammar.Place:
        calls.append(text)
        if len(calls) == 1:
            raise grammar.TooComplex("too many states")
        return walk_to(engine, text)

    monkeypatch.setattr(grammar.Engine, "_walk", fail_once)
    assert rules.fit(text) == "open"
    assert calls == [text, text]


def test_a_trial_that_takes_too_long_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(grammar_trial, "PATIENCE_S", 0.001)
    assert grammar_trial.try_out(grammar.HEADER + "/a/") is None
    monkeypatch.undo()
    assert grammar_trial.try_out(grammar.HEADER + "/日/") == ""
