"""The same answers as transformers and Llama 3, and each known difference in the open."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from explorer.decoding import MinP, Step, Temperature, TopK, TopP, Trace, decode

NO_IDS = torch.zeros((1, 0), dtype=torch.long)
SIZES = [2, 7, 100, 1_000, 50_000]

PAIRS: list[tuple[Step, LogitsProcessor]] = [
    (Temperature(0.1), TemperatureLogitsWarper(0.1)),
    (Temperature(0.6), TemperatureLogitsWarper(0.6)),
    (Temperature(1.0), TemperatureLogitsWarper(1.0)),
    (Temperature(2.5), TemperatureLogitsWarper(2.5)),
    (TopK(1), TopKLogitsWarper(1)),
    (TopK(5), TopKLogitsWarper(5)),
    (TopK(50), TopKLogitsWarper(50)),
    (TopK(100_000), TopKLogitsWarper(100_000)),
    (TopP(0.1), TopPLogitsWarper(0.1)),
    (TopP(0.5), TopPLogitsWarper(0.5)),
    (TopP(0.9), TopPLogitsWarper(0.9)),
    (TopP(0.999), TopPLogitsWarper(0.999)),
    (TopP(1.0), TopPLogitsWarper(1.0)),
    (MinP(0.01), MinPLogitsWarper(0.01)),
    (MinP(0.1), MinPLogitsWarper(0.1)),
    (MinP(0.5), MinPLogitsWarper(0.5)),
    (MinP(1.0), MinPLogitsWarper(1.0)),
]

# In transformers' order: temperature, top-k, top-p, min-p.
CHAINS = [
    [(Temperature(0.6), TemperatureLogitsWarper(0.6)), (TopP(0.9), TopPLogitsWarper(0.9))],
    [(TopK(50), TopKLogitsWarper(50)), (TopP(0.95), TopPLogitsWarper(0.95))],
    [
        (Temperature(1.7), TemperatureLogitsWarper(1.7)),
        (TopK(40), TopKLogitsWarper(40)),
        (TopP(0.93), TopPLogitsWarper(0.93)),
        (MinP(0.05), MinPLogitsWarper(0.05)),
    ],
    [
        (Temperature(0.3), TemperatureLogitsWarper(0.3)),
        (TopK(200), TopKLogitsWarper(200)),
        (TopP(0.999), TopPLogitsWarper(0.999)),
        (MinP(0.001), MinPLogitsWarper(0.001)),
    ],
]


def tie_free(seed: int, size: int) -> NDArray[np.float64]:
    logits = np.random.default_rng([seed, size]).normal(0, 3, size)
    assert len(np.unique(logits)) == size
    return logits


def theirs(
    logits: NDArray[np.float64], *warpers: LogitsProcessor, dtype: torch.dtype = torch.float64
) -> NDArray[np.float64]:
    batch = torch.tensor(logits, dtype=dtype)[None]
    warped = LogitsProcessorList(warpers)(NO_IDS, batch)
    return torch.softmax(warped[0].double(), -1).numpy()


def assert_same(trace: Trace, expected: NDArray[np.float64]) -> None:
    assert set(trace.final.token_ids.tolist()) == set(np.flatnonzero(expected).tolist())
    np.testing.assert_allclose(trace.probabilities, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("step", "warper"), PAIRS, ids=[str(step) for step, _ in PAIRS])
def test_each_rule_is_transformers_rule(step: Step, warper: LogitsProcessor, size: int) -> None:
    for seed in range(3 if size > 10_000 else 12):
        logits = tie_free(seed, size)
        assert_same(decode(logits, [step]), theirs(logits, warper))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pairs", CHAINS, ids=range(len(CHAINS)))
def test_chains_are_transformers_chains(
    pairs: list[tuple[Step, LogitsProcessor]], size: int
) -> None:
    for seed in range(2 if size > 10_000 else 8):
        logits = tie_free(seed, size)
        trace = decode(logits, [step for step, _ in pairs])
        assert_same(trace, theirs(logits, *(warper for _, warper in pairs)))


@pytest.mark.parametrize("size", [1_000, 50_000])
@pytest.mark.parametrize(
    ("step", "warper"),
    [PAIRS[1], PAIRS[6], PAIRS[10], PAIRS[14]],
    ids=["temperature", "top_k", "top_p", "min_p"],
)
def test_transformers_in_float32_agrees_to_float32(
    step: Step, warper: LogitsProcessor, size: int
) -> None:
    for seed in range(3):
        logits = tie_free(seed, size).astype(np.float32)
        ours = decode(logits, [step]).probabilities
        expected = theirs(logits.astype(np.float64), warper, dtype=torch.float32)
        # Rounding may move a top-p cut by a token: its mass stays below the tolerance.
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


def test_minus_infinity_is_removed_by_both() -> None:
    logits = np.array([1.0, -np.inf, 0.5, -np.inf, 0.1])
    for step, warper in [(TopP(0.95), TopPLogitsWarper(0.95)), (MinP(0.1), MinPLogitsWarper(0.1))]:
        assert_same(decode(logits, [step]), theirs(logits, warper))


def test_difference_transformers_keeps_every_tie_with_the_kth() -> None:
    logits = np.array([0.0, 1.0, 1.0, 1.0])
    assert np.flatnonzero(theirs(logits, TopKLogitsWarper(2))).tolist() == [1, 2, 3]
    assert decode(logits, [TopK(2)]).final.token_ids.tolist() == [1, 2]


def test_difference_top_p_at_equality_splits_ties_by_another_end() -> None:
    logits = np.zeros(4)
    assert np.flatnonzero(theirs(logits, TopPLogitsWarper(0.5))).tolist() == [2, 3]
    assert decode(logits, [TopP(0.5)]).final.token_ids.tolist() == [0, 1]
    assert np.flatnonzero(llama3_top_p(torch.full((4,), 0.25), 0.5)).tolist() == [0, 1, 2]


def test_difference_temperature_0_is_greedy_where_transformers_refuses() -> None:
    with pytest.raises(ValueError, match="temperature"):
        TemperatureLogitsWarper(0.0)
    assert decode([1.0, 3.0, 2.0], [Temperature(0.0)]).final.token_ids.tolist() == [1]


def llama3_top_p(probabilities: torch.Tensor, p: float) -> NDArray[np.float64]:
    """`sample_top_p` of meta-llama/llama3, without its draw."""
    descending, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
    mass = torch.cumsum(descending, dim=-1)
    descending[mass - descending > p] = 0.0
    descending.div_(descending.sum(dim=-1, keepdim=True))
    return torch.zeros_like(descending).scatter_(-1, order, descending).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("p", [0.05, 0.37, 0.9, 0.99])
def test_llama3_cuts_at_the_same_place_away_from_equality(p: float, size: int) -> None:
    for seed in range(3):
        logits = tie_free(seed, size)
        probabilities = torch.softmax(torch.tensor(logits), -1)
        mass = np.sort(probabilities.numpy())[::-1].cumsum()
        assert np.abs(mass - p).min() > 1e-12
        assert_same(decode(logits, [TopP(p)]), llama3_top_p(probabilities, p))


def test_llama3_with_its_own_defaults() -> None:
    logits = tie_free(11, 1_000)
    probabilities = torch.softmax(torch.tensor(logits) / 0.6, -1)
    assert_same(decode(logits, [Temperature(0.6), TopP(0.9)]), llama3_top_p(probabilities, 0.9))
