"""Typical, tail-free and top-h, against their definitions written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import Step, TailFree, TopH, TopK, Typical, decode
from tests.decoding.strategies import shares, tie_free_logits, whole_logits

in_short = settings(max_examples=200, deadline=None)


def kept(step: Step, probabilities: list[float]) -> list[int]:
    with np.errstate(divide="ignore"):
        return decode(np.log(probabilities), [step]).final.token_ids.tolist()


def softmax(logits: NDArray[np.float64]) -> list[float]:
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


# Surprisals of 0.5, 0.3, 0.15, 0.05 in nats: 0.6931, 1.2040, 1.8971, 2.9957.
# H = 0.3466 + 0.3612 + 0.2846 + 0.1498 = 1.1421.
# Distances: 0.4490, 0.0618, 0.7550, 1.8536; so the order is 0.3, 0.5, 0.15, 0.05.
@pytest.mark.parametrize(
    ("mass", "survivors"),
    [
        (0, [1]),
        (0.29, [1]),
        (0.31, [0, 1]),
        (0.79, [0, 1]),
        (0.81, [0, 1, 2]),
        (0.94, [0, 1, 2]),
        (0.96, [0, 1, 2, 3]),
        (1, [0, 1, 2, 3]),
    ],
)
def test_typical_keeps_the_least_surprising_surprises(mass: float, survivors: list[int]) -> None:
    assert kept(Typical(mass), [0.5, 0.3, 0.15, 0.05]) == survivors


def test_typical_can_cut_the_most_probable_token() -> None:
    # H = 0.4·0.9163 + 6·0.1·2.3026 = 1.7481; 0.4 is 0.8318 away, each 0.1 is 0.5545.
    assert kept(Typical(0.55), [0.4, *[0.1] * 6]) == [1, 2, 3, 4, 5, 6]
    assert kept(Typical(0.45), [0.4, *[0.1] * 6]) == [1, 2, 3, 4, 5]
    assert kept(Typical(0.61), [0.4, *[0.1] * 6]) == [0, 1, 2, 3, 4, 5, 6]


def test_typical_splits_ties_by_token_id() -> None:
    assert kept(Typical(0.3), [0.25] * 4) == [0, 1]
    assert kept(Typical(0.5), [0.25] * 4) == [0, 1]
    assert kept(Typical(0.51), [0.25] * 4) == [0, 1, 2]
    # Twelve even tokens reach 0.95 with the twelfth: 11/12 = 0.917.
    assert len(kept(Typical(0.95), [1 / 12] * 12)) == 12
    assert len(kept(Typical(0.91), [1 / 12] * 12)) == 11


def test_typical_splits_ties_in_a_group_away_from_the_middle() -> None:
    probabilities = [0.3, 0.4, 0.1, 0.1, 0.1]
    # Surprisals 1.2040, 0.9163, 2.3026; H = 0.3612 + 0.3665 + 0.6908 = 1.4185.
    # Distances 0.2145, 0.5022, 0.8841 three times.
    assert kept(Typical(0.75), probabilities) == [1, 0, 2]
    assert kept(Typical(0.85), probabilities) == [1, 0, 2, 3]


def test_typical_never_keeps_what_is_impossible() -> None:
    assert kept(Typical(0.9999), [0.5, 0.0, 0.5]) == [0, 2]
    assert kept(Typical(0.0), [0.0, 0.0, 1.0]) == [2]


@in_short
@given(tie_free_logits | whole_logits, shares)
def test_typical_is_its_definition(logits: NDArray[np.float64], mass: float) -> None:
    p = softmax(logits)
    entropy = -math.fsum(q * math.log(q) for q in p)
    distance = [abs(-math.log(q) - entropy) for q in p]
    # Rounded, so that equal logits tie here too; two distances are never so close otherwise.
    order = sorted(range(len(p)), key=lambda i: (round(distance[i], 9), i))
    expected, before = set(), 0.0
    for i in order:
        if before < mass or not expected:
            expected.add(i)
        before += p[i]
    if mass == 1:
        expected = set(order)
    assert set(decode(logits, [Typical(mass)]).final.token_ids.tolist()) == expected


def text_generation_webui_tail_free(p: list[float], z: float) -> list[int]:
    """`TailFreeLogitsWarper`, line by line, on sorted probabilities: the places that stay."""
    first = [p[i + 1] - p[i] for i in range(len(p) - 1)]
    d2 = [abs(first[i + 1] - first[i]) for i in range(len(first) - 1)]
    total = sum(d2)
    normalized = [d / total if total else math.nan for d in d2]
    cdf, so_far = [], 0.0
    for d in normalized:
        so_far += d
        cdf.append(so_far)
    remove = [False, *(value > z for value in cdf), True]
    return [place for place, gone in enumerate(remove[: len(p)]) if not gone]


@pytest.mark.parametrize(
    ("z", "survivors"),
    [
        # Differences -0.2, -0.15, -0.1; second ones 0.05 and 0.05, shares 0.5 and 1.
        (0, 1),
        (0.49, 1),
        (0.51, 2),
        (0.99, 2),
        (1, 4),  # off
    ],
)
def test_tail_free_follows_the_curve(z: float, survivors: int) -> None:
    assert kept(TailFree(z), [0.5, 0.3, 0.15, 0.05]) == [0, 1, 2, 3][:survivors]


def test_tail_free_takes_the_absolute_second_difference() -> None:
    # 0.4, 0.35, 0.15, 0.1: differences -0.05, -0.2, -0.05; second ones -0.15 and 0.15.
    # Signed they would cancel; absolute, their shares are 0.5 and 1.
    assert kept(TailFree(0.6), [0.4, 0.35, 0.15, 0.1]) == [0, 1]


@in_short
@given(tie_free_logits | whole_logits, shares.filter(lambda z: z < 1))
def test_tail_free_is_text_generation_webuis(logits: NDArray[np.float64], z: float) -> None:
    trace = decode(logits, [TailFree(z)])
    if len(logits) == 1:
        assert len(trace.final) == 1
        return
    expected = text_generation_webui_tail_free(sorted(softmax(logits), reverse=True), z)
    even = len(set(logits.tolist())) == 1
    if even:  # 0 / 0 there, where no comparison holds: all but the last stay
        assert len(trace.final) == len(logits) - 1
    else:
        assert len(trace.final) == len(expected)
    assert (
        trace.final.token_ids.tolist() == trace.distribution.token_ids[: len(trace.final)].tolist()
    )


@pytest.mark.parametrize(
    ("h", "survivors"),
    [
        # -p ln p: 0.3466, 0.3612, 0.2846, 0.1498, together 1.1421;
        # summed up and divided: 0.3034, 0.6197, 0.8689, 1.
        (0, 1),
        (0.30, 1),
        (0.61, 1),
        (0.63, 2),
        (0.86, 2),
        (0.88, 3),
        (1, 4),
    ],
)
def test_top_h_keeps_a_share_of_the_entropy(h: float, survivors: int) -> None:
    assert kept(TopH(h), [0.5, 0.3, 0.15, 0.05]) == [0, 1, 2, 3][:survivors]


@pytest.mark.parametrize(("size", "survivors"), [(99, 99), (100, 100), (101, 100), (5_000, 100)])
def test_top_h_looks_at_a_hundred_tokens(size: int, survivors: int) -> None:
    assert len(decode(-np.arange(size) / 100, [TopH(1)]).final) == survivors


def test_top_h_renormalises_over_the_hundred() -> None:
    # 200 even tokens: each of the first 100 holds 1/100 of their entropy.
    assert len(decode(np.zeros(200), [TopH(0.505)]).final) == 50
    # Cut to the hundred beforehand, the same.
    logits = np.random.default_rng(3).normal(0, 2, 400)
    for h in (0.1, 0.5, 0.9):
        alone, cut = decode(logits, [TopH(h)]), decode(logits, [TopK(100), TopH(h)])
        assert alone.final.token_ids.tolist() == cut.final.token_ids.tolist()


@in_short
@given(tie_free_logits, st.integers(0, 996).map(lambda part: part / 997))
def test_top_h_is_its_definition(logits: NDArray[np.float64], h: float) -> None:
    terms = [-q * math.log(q) for q in sorted(softmax(logits), reverse=True)]
    count = 1
    while count < len(terms) and math.fsum(terms[: count + 1]) <= h * math.fsum(terms):
        count += 1
    assert len(decode(logits, [TopH(h)]).final) == count
