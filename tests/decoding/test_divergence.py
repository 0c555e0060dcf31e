"""How far apart two distributions are, against the definitions written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.decoding import Distribution, divergence
from tests.decoding.strategies import normal_logits


@given(st.integers(0, 1000), st.integers(2, 40))
def test_it_is_what_the_textbook_says(seed: int, size: int) -> None:
    first = Distribution.from_logits(normal_logits(seed, size))
    second = Distribution.from_logits(normal_logits(seed + 1, size))
    found = divergence(first, second)
    p, q = (np.zeros(size) for _ in range(2))
    for one, made in ((first, p), (second, q)):
        for token_id, share in zip(one.token_ids, one.probabilities, strict=True):
            made[token_id] = share
    kl = sum(a * math.log2(a / b) for a, b in zip(p, q, strict=True))
    assert found.kl == pytest.approx(kl, abs=1e-9)
    assert found.total_variation == pytest.approx(np.abs(p - q).sum() / 2)
    assert found.total_variation <= math.sqrt(found.kl * math.log(2) / 2) + 1e-9  # Pinsker
    greater = np.maximum(p, q)
    assert found.most_probable(5) == sorted(range(size), key=lambda one: -greater[one])[:5]


def test_of_itself_it_is_nothing() -> None:
    one = Distribution.from_logits([0.0, 1.0, -math.inf])
    found = divergence(one, one)
    assert (found.kl, found.total_variation) == (0.0, 0.0)


def test_what_the_second_rules_out_is_infinitely_far() -> None:
    both, one = Distribution.from_logits([0.0, 0.0]), Distribution.from_logits([0.0, -math.inf])
    assert divergence(both, one).kl == math.inf
    assert divergence(one, both).kl == pytest.approx(1.0)


def test_only_whole_distributions_over_one_vocabulary_compare() -> None:
    two, three = Distribution.from_logits([0.0, 0.0]), Distribution.from_logits([0.0] * 3)
    part = Distribution(np.arange(2), np.log([0.5, 0.3]), coverage=0.8)
    for first, second in ((two, three), (two, part), (part, two)):
        with pytest.raises(ValueError, match="whole distributions"):
            divergence(first, second)
