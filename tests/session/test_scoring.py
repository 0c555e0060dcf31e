"""Perplexity and bits per byte, by hand."""

import math

import pytest

from explorer.backends import ScoredToken, ScriptedBackend
from explorer.session import bits_per_byte, bits_per_token, perplexity, unlisted

FIRST = ScoredToken(0)


def scored(token_id: int, probability: float) -> ScoredToken:
    return ScoredToken(token_id, math.log(probability) if probability else -math.inf)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend([b"<s>", b"a", b"bcd", "日".encode()], special=[0])


def test_perplexity_is_the_inverse_of_the_geometric_mean() -> None:
    tokens = [FIRST, scored(1, 1 / 2), scored(2, 1 / 8)]
    assert perplexity(tokens) == pytest.approx(4)


def test_perplexity_of_certain_tokens_is_1() -> None:
    assert perplexity([FIRST, scored(1, 1.0)]) == 1


def test_perplexity_of_a_uniform_guess_is_the_number_of_choices() -> None:
    assert perplexity([FIRST] + [scored(1, 1 / 50)] * 7) == pytest.approx(50)


@pytest.mark.parametrize("tokens", [[], [FIRST], [FIRST, FIRST]])
def test_perplexity_of_nothing_is_unknown(tokens: list[ScoredToken]) -> None:
    assert perplexity(tokens) is None


def test_perplexity_with_an_impossible_token_is_unknown() -> None:
    assert perplexity([FIRST, scored(1, 0.5), scored(1, 0)]) is None


def test_perplexity_beyond_the_largest_float_is_unknown() -> None:
    assert perplexity([FIRST, ScoredToken(1, -800.0)]) is None


def test_bits_per_byte(backend: ScriptedBackend) -> None:
    # 1 + 3 bits over 1 + 3 bytes; the first token has no probability and counts for nothing.
    tokens = [scored(1, 1), scored(1, 1 / 2), scored(2, 1 / 8)]
    assert bits_per_byte(backend, [ScoredToken(2), *tokens[1:]]) == pytest.approx(1)


def test_bytes_are_counted_and_not_characters(backend: ScriptedBackend) -> None:
    assert bits_per_byte(backend, [FIRST, scored(3, 1 / 8)]) == pytest.approx(1)


def test_special_tokens_spell_no_bytes(backend: ScriptedBackend) -> None:
    tokens = [FIRST, scored(0, 1 / 1024), scored(1, 1 / 4)]
    assert bits_per_byte(backend, tokens) == pytest.approx(2)


@pytest.mark.parametrize("tokens", [[], [FIRST], [FIRST, scored(0, 0.5)], [scored(1, 0)]])
def test_bits_per_byte_of_nothing_is_unknown(
    backend: ScriptedBackend, tokens: list[ScoredToken]
) -> None:
    assert bits_per_byte(backend, tokens) is None


def test_both_from_a_scored_text() -> None:
    backend = ScriptedBackend([b"a", b"b"], {(0,): [0.75, 0.25], (0, 1): [0.5, 0.5]})
    tokens = backend.score((0, 1, 0))
    assert perplexity(tokens) == pytest.approx(math.sqrt(8))
    assert bits_per_byte(backend, tokens) == pytest.approx(1.5)


def test_a_token_that_a_server_did_not_list_leaves_a_bound(backend: ScriptedBackend) -> None:
    text = [FIRST, scored(1, 1 / 4), ScoredToken(2)]
    assert unlisted(text) == 1
    assert perplexity(text) is bits_per_token(text) is bits_per_byte(backend, text) is None
    assert perplexity(text, at_least=True) == pytest.approx(2)
    assert bits_per_token(text, at_least=True) == pytest.approx(1)
    assert bits_per_byte(backend, text, at_least=True) == pytest.approx(2 / 4)
    assert perplexity([FIRST, ScoredToken(2)], at_least=True) is None
