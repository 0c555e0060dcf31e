"""What a server did not send: bounds that hold for whatever it kept back, and what is exact."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import Chain, Distribution, Trace, decode
from tests.decoding.strategies import chains, contexts, steps, tie_free_logits

thorough = settings(max_examples=150, deadline=None)


def sent(whole: Distribution, count: int, *, size_known: bool) -> Distribution:
    """What a server that sends so many tokens would give."""
    logprobs = np.log(whole.probabilities)
    return Distribution(
        whole.token_ids[:count],
        logprobs[:count],
        coverage=float(whole.probabilities[:count].sum()),
        vocab_size=whole.size if size_known else None,
        true_logits=False,
    )


def both(
    logits: NDArray[np.float64], part: float, chain: Chain, context: tuple[int, ...], known: bool
) -> tuple[Trace, Trace]:
    """The truth, and what is made of the first tokens of it."""
    logprobs = logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())
    whole = Distribution.from_logits(logprobs)
    count = max(1, min(len(logits) - 1, round(part * len(logits))))
    return decode(whole, chain, context), decode(
        sent(whole, count, size_known=known), chain, context
    )


def check(truth: Trace, trace: Trace) -> None:
    certainty, ids = trace.certainty, trace.distribution.token_ids
    final = truth.probabilities[ids]
    assert certainty.lowest is not None and certainty.highest is not None
    assert (certainty.lowest <= final + 1e-9).all()
    assert (final <= certainty.highest + 1e-9).all()
    assert certainty.unsent[0] - 1e-9 <= 1 - final.sum() <= certainty.unsent[1] + 1e-9
    low, high = trace.entropy_bounds
    assert low - 1e-9 <= truth.final.entropy
    assert high is None or truth.final.entropy <= high + 1e-9
    shown = trace.probabilities[ids]
    assert (certainty.lowest - 1e-9 <= shown).all() or not certainty.exact
    if certainty.exact:
        assert shown == pytest.approx(final, abs=2e-9)
    low, high = trace.distribution.entropy_bounds
    entropy = truth.distribution.entropy
    assert entropy is not None and low - 1e-9 <= entropy
    assert high is None or entropy <= high + 1e-9


@thorough
@given(tie_free_logits, st.floats(0, 1), chains, contexts, st.booleans())
def test_the_truth_lies_within_the_bounds(
    logits: NDArray[np.float64], part: float, chain: Chain, context: tuple[int, ...], known: bool
) -> None:
    check(*both(logits, part, chain, context, known))


@thorough
@given(tie_free_logits, st.floats(0, 1), steps, contexts, st.booleans())
def test_the_truth_lies_within_the_bounds_of_each_rule(
    logits: NDArray[np.float64], part: float, step: Any, context: tuple[int, ...], known: bool
) -> None:
    check(*both(logits, part, (step,), context, known))
