"""What is kept of grammars, and which ones are refused."""

import json
import threading

import numpy as np
import pytest

from explorer.backends import Backend, grammar, grammar_trial
from explorer.backends.base import GrammarRefused
from explorer.decoding import Constraint
from tests.backends.fitting import VOCABULARIES, all_tokens, fresh, scripted, spelled, walk


@pytest.fixture(params=VOCABULARIES)
def backend(request: pytest.FixtureRequest) -> Backend:
    return VOCABULARIES[request.param]()


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
    monkeypatch.setattr(grammar, "try_out", lambda *asked: tried.append(asked) or try_out(*asked))
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


def test_a_token_that_is_allowed_but_not_read_is_a_limit(monkeypatch) -> None:
    backend = scripted()
    rules = backend.grammar(Constraint(regex="[a-z]+"), 0)
    go_to = grammar.Engine._go_to
    monkeypatch.setattr(grammar.Engine, "_go_to", lambda engine, text: go_to(engine, text[:-1]))
    with pytest.raises(GrammarRefused, match="too complex"):
        rules.fit(spelled(backend, "abc"))


def test_a_trial_that_takes_too_long_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(grammar_trial, "PATIENCE_S", 0.001)
    assert grammar_trial.try_out(grammar.HEADER + "/a/") is None
    monkeypatch.undo()
    assert grammar_trial.try_out(grammar.HEADER + "/日/") == ""
