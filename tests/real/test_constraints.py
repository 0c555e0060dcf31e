"""Constraints on the two real models, against `re`, `regex` and `json`."""

import json
import re

import numpy as np
import pytest

from explorer.backends.base import GrammarRefused
from explorer.backends.local import LocalBackend
from explorer.decoding import Chain, Constraint, Greedy, Temperature, decode, draw, uniform
from tests.backends.fitting import can_begin

pytestmark = pytest.mark.real

PROMPTS = {"smollm2": "The answer in Japanese:", "gemma3": "日本の首都は東京です。答え:"}
CITIES = "(東京|大阪|京都)です。"
DATE = r"\d{4}-\d{2}-\d{2}"
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "都市": {"enum": ["東京", "大阪"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 500},
            "note": {"type": "string", "maxLength": 8},
        },
        "required": ["都市", "count", "note"],
        "additionalProperties": False,
    }
)
SAMPLED = 200  # of the tokens on either side of the cut


@pytest.fixture(params=PROMPTS)
def model(request) -> tuple[LocalBackend, tuple[int, ...]]:
    backend = request.getfixturevalue(request.param)
    return backend, backend.encode(PROMPTS[request.param])


def generate(
    backend: LocalBackend, prompt: tuple[int, ...], constraint: Constraint, *chain, seed: int = 0
) -> tuple[int, ...]:
    """What the model writes after the prompt until the text is complete or it ends it."""
    rules = backend.grammar(constraint, len(prompt))
    steps: Chain = (constraint.bound(rules), *chain)
    prefix = prompt
    while rules.fit(prefix) == "open":
        assert len(prefix) < len(prompt) + 300
        trace = decode(backend.next_distribution(prefix), steps, prefix)
        token_id = draw(trace, uniform(seed, len(prefix)))
        if token_id in backend.info.end_token_ids:
            break
        prefix = (*prefix, token_id)
    return prefix[len(prompt) :]


def written(backend: LocalBackend, token_ids) -> str:
    return b"".join(backend.token(token_id).raw for token_id in token_ids).decode()


@pytest.mark.parametrize("pattern", [CITIES, DATE, "(はい|いいえ|😀)!?", "[ぁ-ん]{3,6}"])
def test_greedy_and_drawn_texts_match(model, pattern):
    backend, prompt = model
    constraint = Constraint(regex=pattern)
    assert re.fullmatch(pattern, written(backend, generate(backend, prompt, constraint, Greedy())))
    hot = Temperature(2.0)
    texts = {written(backend, generate(backend, prompt, constraint, hot, seed=s)) for s in range(5)}
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert len(texts) > 1


def test_texts_fit_the_schema(model):
    backend, prompt = model
    constraint = Constraint(json_schema=SCHEMA)
    for seed in range(2):
        text = written(backend, generate(backend, prompt, constraint, seed=seed))
        value = json.loads(text)
        assert list(value) == ["都市", "count", "note"]
        assert value["都市"] in ("東京", "大阪")
        assert type(value["count"]) is int
        assert 0 <= value["count"] <= 500
        assert isinstance(value["note"], str)
        assert len(value["note"]) <= 8


@pytest.mark.parametrize("pattern", [CITIES, DATE, "[^a-z]+", r"(https?://)?[a-z]+\.(com|jp)"])
def test_the_cut_is_where_regex_says(model, pattern):
    backend, prompt = model
    rules = backend.grammar(Constraint(regex=pattern), len(prompt))
    rng = np.random.default_rng(4)
    ends, text = backend.info.end_token_ids, ()
    for _ in range(4):
        raw = b"".join(backend.token(i).raw for i in text)
        allowed = rules.allowed((*prompt, *text))
        assert allowed.shape == (backend.info.vocab_size,)
        kept, cut = np.flatnonzero(allowed), np.flatnonzero(~allowed)
        kept = kept[~np.isin(kept, ends)]
        for token_id in rng.permutation(kept)[:SAMPLED].tolist():
            assert can_begin(pattern, raw + backend.token(token_id).raw)
        for token_id in rng.permutation(cut)[:SAMPLED].tolist():
            token = backend.token(token_id)
            idle = token.special or not token.raw or token_id in ends
            assert idle or not can_begin(pattern, raw + token.raw)
        if not len(kept):
            break
        text = (*text, int(rng.choice(kept)))


def test_every_spelling_is_allowed_byte_tokens_too(model):
    backend, prompt = model
    rules = backend.grammar(Constraint(regex="京都"), len(prompt))
    allowed = {backend.token(int(i)).raw for i in np.flatnonzero(rules.allowed(prompt))}
    every = {backend.token(i).raw for i in range(backend.info.vocab_size)} - {b""}
    assert allowed == {raw for raw in every if "京都".encode().startswith(raw)}
    assert "京".encode()[:1] in allowed


def test_a_complete_text_may_only_end_and_a_cut_token_breaks_it(model):
    backend, prompt = model
    constraint = Constraint(regex=CITIES)
    rules = backend.grammar(constraint, len(prompt))
    text = generate(backend, prompt, constraint, Greedy())
    ends = list(backend.info.end_token_ids)
    assert rules.fit((*prompt, *text)) == "complete"
    assert np.flatnonzero(rules.allowed((*prompt, *text))).tolist() == ends
    assert rules.fit((*prompt, *text, ends[0])) == "complete"
    assert rules.fit((*prompt, *text, text[0])) == "broken"
    for length in range(len(text)):
        prefix = (*prompt, *text[:length])
        assert rules.fit(prefix) == "open"
        assert not rules.allowed(prefix)[ends].any()
        assert rules.fit((*prefix, ends[0])) == "broken"
        free = backend.next_distribution(prefix)
        likely = next(int(i) for i in free.token_ids if not rules.allowed(prefix)[i])
        assert rules.fit((*prefix, likely)) == "broken"
        step = constraint.bound(rules)
        assert decode(free, [step], prefix).cut_by(likely) == "constraint"
        kept = decode(free, [step], (*prefix, likely)).final
        assert len(kept) == backend.info.vocab_size  # broken: not constrained any more


@pytest.mark.parametrize("pattern", ["(a{1,1000}){1,1000}", "(.*a){500}", r"(\w{1,50}\s){1,200}"])
def test_hostile_patterns_come_to_an_end(model, pattern):
    backend, prompt = model
    try:
        rules = backend.grammar(Constraint(regex=pattern), len(prompt))
        rng, prefix = np.random.default_rng(0), prompt
        for _ in range(30):
            prefix = (*prefix, int(rng.choice(np.flatnonzero(rules.allowed(prefix)))))
            assert rules.fit(prefix) != "broken"
    except GrammarRefused as error:
        assert error.facts["kind"] == "regex"
