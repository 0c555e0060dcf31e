"""What every backend must do, whatever owns the weights."""

import copy
import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explorer.backends import Backend, ScoredToken, ScriptedBackend
from explorer.backends.base import (
    ChatRefused,
    ContextTooLong,
    GrammarRefused,
    NoChatTemplate,
    NothingToPredict,
    TextNotEncodable,
    TokenOutOfRange,
)
from explorer.decoding import Constraint, Distribution, decode, draw, uniform
from tests.backends import served, tiny

TEXTS = [
    "the dog",
    "日本語の言葉",
    "😀👩‍👩‍👧",
    "a\0b",
    "  two   spaces\n\n\tand a tab ",
    "é" + "e\u0301",
]


def scripted() -> ScriptedBackend:
    vocabulary = [b"<s>", b"the", b" dog", *(bytes([byte]) for byte in range(256))]
    script = {
        (0, 1): [1.0 + i % 7 for i in range(len(vocabulary))],
        (0, 1, 2): [0.0 if i % 3 else float(i + 1) for i in range(len(vocabulary))],
    }
    return ScriptedBackend(vocabulary, script, special=[0], bos_token_id=0, chat=True)


def scripted_without_bos() -> ScriptedBackend:
    return ScriptedBackend([bytes([byte]) for byte in range(256)], {(0, 1): range(1, 257)})


BACKENDS: dict[str, Callable[[], Backend]] = {
    "scripted": scripted,
    "scripted without BOS": scripted_without_bos,
    **{name: lambda name=name: tiny.backend(name) for name in tiny.MODELS},
    "vllm": lambda: served.vllm_backend(served.vllm_server(-1)),
    "vllm, 20 of 384": lambda: served.vllm_backend(served.vllm_server(20)),
    "llama-server": lambda: served.llama_backend(served.llama_server()),
}


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest) -> Callable[[], Backend]:
    return BACKENDS[request.param]


@pytest.fixture
def backend(make: Callable[[], Backend]) -> Backend:
    return make()


def prefix_of(backend: Backend, length: int) -> tuple[int, ...]:
    return tuple((5 + 11 * i) % backend.info.vocab_size for i in range(length))


# text -> ids


@pytest.mark.parametrize("text", TEXTS)
def test_encode_gives_ids_of_the_vocabulary(backend: Backend, text: str) -> None:
    token_ids = backend.encode(text)
    assert token_ids
    assert isinstance(token_ids, tuple)
    assert all(type(token_id) is int for token_id in token_ids)
    assert all(0 <= token_id < backend.info.vocab_size for token_id in token_ids)


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_the_tokens_joined_are_the_text(backend: Backend, text: str) -> None:
    tokens = [backend.token(token_id) for token_id in backend.encode(text)]
    assert b"".join(token.raw for token in tokens if not token.special) == text.encode()
    assert [token.token_id for token in tokens if token.special] in (
        [],
        [backend.info.bos_token_id],
    )


def test_empty_text_is_bos_alone_or_nothing_to_predict(backend: Backend) -> None:
    if backend.info.bos_token_id is None:
        with pytest.raises(NothingToPredict):
            backend.encode("")
    else:
        assert backend.encode("") == (backend.info.bos_token_id,)


@pytest.mark.parametrize(("text", "position"), [("\ud800", 0), ("the \udfff dog", 4)])
def test_lone_surrogate_is_refused(backend: Backend, text: str, position: int) -> None:
    with pytest.raises(TextNotEncodable) as caught:
        backend.encode(text)
    assert caught.value.code == "text_not_encodable"
    assert caught.value.facts["position"] == position


def test_scripted_text_without_a_token_says_where() -> None:
    with pytest.raises(TextNotEncodable) as caught:
        ScriptedBackend([b"a", "日".encode()]).encode("日a語a")
    assert caught.value.facts["position"] == 2


# chat


def test_chat_ids_come_from_the_template_or_there_is_none(backend: Backend) -> None:
    messages = [{"role": "user", "content": "the dog"}]
    if not backend.info.has_chat_template:
        with pytest.raises(NoChatTemplate) as caught:
            backend.encode_chat(messages)
        assert caught.value.code == "no_chat_template"
        return
    token_ids = backend.encode_chat(messages)
    assert all(0 <= token_id < backend.info.vocab_size for token_id in token_ids)
    assert b"the dog" in b"".join(backend.token(token_id).raw for token_id in token_ids)


def test_chat_template_frames_the_messages_and_asks_for_an_answer() -> None:
    backend = tiny.backend("llama")
    messages = [
        {"role": "user", "content": "日本"},
        {"role": "assistant", "content": "the"},
        {"role": "user", "content": "fox"},
    ]
    raw = b"".join(backend.token(token_id).raw for token_id in backend.encode_chat(messages))
    said = "<s>user: 日本</s><s>assistant: the</s><s>user: fox</s><s>assistant:"
    assert raw.decode() == said


def test_a_conversation_the_template_refuses_is_a_backend_error() -> None:
    with pytest.raises(ChatRefused, match="no role robot") as caught:
        tiny.backend("llama").encode_chat([{"role": "robot", "content": "hi"}])
    assert caught.value.facts["detail"] == "no role robot"


def test_lone_surrogate_in_a_message_is_refused() -> None:
    for backend in (scripted(), tiny.backend("llama")):
        with pytest.raises(TextNotEncodable):
            backend.encode_chat([{"role": "user", "content": "a\ud83d"}])


# tokens


def test_token_of_every_id(backend: Backend) -> None:
    for token_id in range(backend.info.vocab_size):
        token = backend.token(token_id)
        assert token.token_id == token_id
        assert isinstance(token.raw, bytes)
        assert backend.token(token_id) == token


def test_no_token_outside_the_vocabulary(backend: Backend) -> None:
    size = backend.info.vocab_size
    for token_id in (-1, size, 2**40):
        with pytest.raises(TokenOutOfRange) as caught:
            backend.token(token_id)
        assert caught.value.facts == {"token_id": token_id, "high": size - 1}


def test_no_prefix_with_ids_outside_the_vocabulary(backend: Backend) -> None:
    for token_id in (-1, backend.info.vocab_size):
        for prefix in ((token_id,), (3, token_id), (token_id, 3)):
            with pytest.raises(TokenOutOfRange):
                backend.next_distribution(prefix)
            with pytest.raises(TokenOutOfRange):
                backend.score(prefix)
            with pytest.raises(TokenOutOfRange):
                backend.continuations([(3,), prefix], 2)


# ids -> distributions


@pytest.mark.parametrize("length", [1, 2, 3, 20])
def test_distribution_covers_the_whole_vocabulary_in_order(backend: Backend, length: int) -> None:
    distribution = backend.next_distribution(prefix_of(backend, length))
    size = backend.info.vocab_size
    assert distribution.size == size
    if backend.info.coverage == 1.0:
        assert distribution.coverage == 1.0
        assert sorted(distribution.token_ids.tolist()) == list(range(size))
    else:
        assert 0 < distribution.coverage < 1
        assert len(set(distribution.token_ids.tolist())) == 20
    assert (np.diff(distribution.logits) <= 0).all()
    assert (np.diff(distribution.probabilities) <= 0).all()
    assert distribution.probabilities.sum() == pytest.approx(distribution.coverage, abs=1e-12)
    ties = np.diff(distribution.logits) == 0
    assert (np.diff(distribution.token_ids)[ties] > 0).all()


def test_same_prefix_gives_the_same_distribution(backend: Backend) -> None:
    prefix = prefix_of(backend, 12)
    once = backend.next_distribution(prefix)
    backend.next_distribution(prefix_of(backend, 5))
    backend.score(prefix_of(backend, 15))
    again = backend.next_distribution(prefix)
    assert again.token_ids.tolist() == once.token_ids.tolist()
    assert again.logits.tolist() == once.logits.tolist()


def test_scoring_does_not_move_a_distribution(make: Callable[[], Backend]) -> None:
    backend = make()
    prefix = prefix_of(backend, 12)
    once = _by_token_id(backend.next_distribution(prefix))
    backend.score(prefix)
    assert _by_token_id(backend.next_distribution(prefix)) == pytest.approx(once, abs=1e-6)
    assert _by_token_id(make().next_distribution(prefix)) == pytest.approx(once, abs=1e-6)


def test_different_prefixes_give_different_distributions(backend: Backend) -> None:
    one, other = (backend.next_distribution(prefix) for prefix in ((0, 1), (0, 1, 2)))
    assert one.logits.tolist() != other.logits.tolist()


def test_nothing_follows_an_empty_prefix(backend: Backend) -> None:
    with pytest.raises(NothingToPredict):
        backend.next_distribution(())
    with pytest.raises(NothingToPredict):
        backend.score(())


def test_prefix_that_fills_the_context(backend: Backend) -> None:
    prefix = prefix_of(backend, backend.info.context_length)
    assert len(backend.score(prefix)) == len(prefix)
    assert backend.next_distribution(prefix).coverage >= backend.info.coverage


@pytest.mark.parametrize("more", [1, 100])
def test_prefix_longer_than_the_context(backend: Backend, more: int) -> None:
    limit = backend.info.context_length
    prefix = prefix_of(backend, limit + more)
    for ask in (backend.next_distribution, backend.score):
        with pytest.raises(ContextTooLong) as caught:
            ask(prefix)
        assert caught.value.facts == {"length": limit + more, "limit": limit}
        assert str(limit + more) in str(caught.value)
        assert str(limit) in str(caught.value)


# scores


def test_first_token_has_no_score(backend: Backend) -> None:
    first = backend.score((3,))[0]
    assert (first.token_id, first.logprob, first.rank, first.entropy) == (3, None, None, None)
    assert backend.score((3, 4))[0] == first


@pytest.mark.parametrize("length", [2, 3, 16, 20])
def test_scores_agree_with_the_distributions(make: Callable[[], Backend], length: int) -> None:
    scoring, stepping = make(), make()
    prefix = prefix_of(scoring, length)
    scored = scoring.score(prefix)
    assert [token.token_id for token in scored] == list(prefix)
    for end in range(1, length):
        _agrees(scored[end], stepping.next_distribution(prefix[:end]), prefix[end])


@pytest.mark.parametrize("earlier", [1, 2, 7, 12, 20])
def test_scores_are_the_same_after_a_shared_first_part(
    make: Callable[[], Backend], earlier: int
) -> None:
    backend, stepping = make(), make()
    prefix = prefix_of(backend, 14)
    backend.score((*prefix[:earlier], 9, 8, 7)[:20])
    backend.next_distribution(prefix[: max(1, earlier - 1)])
    scored = backend.score(prefix)
    for end in range(1, len(prefix)):
        _agrees(scored[end], stepping.next_distribution(prefix[:end]), prefix[end])


def test_scores_from_steps_taken_before(make: Callable[[], Backend]) -> None:
    stepping, scoring = make(), make()
    prefix = prefix_of(stepping, 10)
    stepping.score(prefix[:3])
    for end in range(3, 10):
        stepping.next_distribution(prefix[:end])
    for from_steps, at_once in zip(stepping.score(prefix), scoring.score(prefix), strict=True):
        assert from_steps.token_id == at_once.token_id
        if from_steps.rank is None and at_once.rank is not None:
            assert stepping.info.coverage < 1 and at_once.rank > 20
            continue
        assert from_steps.rank == at_once.rank
        if at_once.logprob is None:
            assert from_steps == at_once
        else:
            assert from_steps.logprob == pytest.approx(at_once.logprob, abs=1e-4)
            assert from_steps.entropy == (
                None if at_once.entropy is None else pytest.approx(at_once.entropy, abs=1e-4)
            )


def test_token_of_probability_zero_scores_minus_infinity() -> None:
    scored = ScriptedBackend([b"a", b"b", b"c"], {(0,): [0.5, 0.0, 0.5]}).score((0, 1))
    assert scored[1].logprob == -math.inf
    assert scored[1].rank == 3
    assert scored[1].entropy == pytest.approx(math.log(2))


def test_equal_logits_rank_by_lower_token_id() -> None:
    backend = tiny.backend("llama")
    backend._passes.model = copy.deepcopy(backend.model)
    with torch.no_grad():
        backend.model.lm_head.weight[100:200] = backend.model.lm_head.weight[100]
    scored = backend.score((5, 150, 100, 199))
    for end, token in enumerate(scored[1:], start=1):
        distribution = backend.next_distribution((5, 150, 100, 199)[:end])
        assert token.rank == distribution.rank_of(token.token_id)
        first = distribution.rank_of(100)
        assert token.rank == first + token.token_id - 100


# grammars


GRAMMARS = [
    Constraint(regex="the (dog|fox)|日本|[0-9]{2,3}"),
    Constraint(json_schema='{"enum": ["日本", 12, null]}'),
]


@pytest.mark.parametrize("constraint", GRAMMARS, ids=["regex", "schema"])
@pytest.mark.parametrize("seed", range(5))
def test_constrained_draws_fit(backend: Backend, constraint: Constraint, seed: int) -> None:
    if backend.info.coverage < 1:
        pytest.skip("no token that fits need be among those that came")
    prefix = backend.encode("the")
    start = len(prefix)
    step = constraint.bound(backend.grammar(constraint, start))
    assert step.grammar is not None
    while step.grammar.fit(prefix) != "complete":
        assert len(prefix) < backend.info.context_length, "the text does not end"
        trace = decode(backend.next_distribution(prefix), [step], prefix)
        allowed = step.grammar.allowed(prefix)
        assert allowed.shape == (backend.info.vocab_size,)
        assert set(trace.final.token_ids.tolist()) == set(np.flatnonzero(allowed).tolist())
        token_id = draw(trace, uniform(seed, len(prefix)))
        if token_id in backend.info.end_token_ids:
            break
        prefix = (*prefix, token_id)
    text = b"".join(backend.token(token_id).raw for token_id in prefix[start:]).decode()
    if constraint.regex:
        assert re.fullmatch(constraint.regex, text)
    else:
        assert json.loads(text) in ["日本", 12, None]


def test_after_a_complete_text_only_the_end_is_allowed(backend: Backend) -> None:
    prefix = backend.encode("the")
    start = 1 if backend.token(prefix[0]).special else 0
    rules = backend.grammar(Constraint(regex="the"), start)
    assert rules.fit(prefix) == "complete"
    assert np.flatnonzero(rules.allowed(prefix)).tolist() == list(backend.info.end_token_ids)


def test_a_token_that_does_not_fit_breaks_the_text(backend: Backend) -> None:
    prefix = backend.encode("the dog")
    rules = backend.grammar(Constraint(regex="the fox"), len(prefix))
    assert rules.fit(prefix) == "open"
    cut = int(np.flatnonzero(~rules.allowed(prefix))[-1])
    assert rules.fit((*prefix, cut)) == "broken"


@pytest.mark.parametrize(
    ("constraint", "kind"),
    [(Constraint(regex="a("), "regex"), (Constraint(json_schema="{"), "json_schema")],
)
def test_a_grammar_that_is_wrong_is_refused(
    backend: Backend, constraint: Constraint, kind: str
) -> None:
    with pytest.raises(GrammarRefused) as caught:
        backend.grammar(constraint, 0)
    assert caught.value.code == "grammar_refused"
    assert caught.value.facts["kind"] == kind
    assert caught.value.facts["detail"] in str(caught.value)


def _by_token_id(distribution: Distribution) -> NDArray[np.float64]:
    return distribution.probabilities[distribution.positions]


def _agrees(token: ScoredToken, distribution: Distribution, token_id: int) -> None:
    rank = distribution.rank_of(token_id)
    if rank is None:  # the score of the text knows more than the best that came
        assert distribution.coverage < 1
        assert token.rank is not None and token.rank > len(distribution.token_ids)
        assert token.logprob <= math.log(distribution.probabilities[-1]) + 1e-4
        return
    probability = distribution.probabilities[rank - 1]
    assert token.rank == rank
    if distribution.coverage < 1:
        assert token.entropy is None
    else:
        assert token.entropy == pytest.approx(distribution.entropy, abs=1e-4)
    if probability == 0:
        assert token.logprob == -math.inf
    else:
        assert token.logprob == pytest.approx(math.log(probability), abs=1e-4)
