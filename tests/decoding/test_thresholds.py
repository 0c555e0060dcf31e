"""Epsilon, eta, top-a, p-less and top-nσ, worked by hand."""

import math

import numpy as np
import pytest

from explorer.decoding import (
    EpsilonCutoff,
    EtaCutoff,
    PLess,
    Step,
    Temperature,
    TopA,
    TopK,
    TopNSigma,
    decode,
)

P4 = [0.4, 0.3, 0.2, 0.1]


def kept(steps: list[Step], probabilities: list[float]) -> list[int]:
    with np.errstate(divide="ignore"):
        return decode(np.log(probabilities), steps).final.token_ids.tolist()


@pytest.mark.parametrize(
    ("epsilon", "survivors"),
    [(0, 4), (0.09, 4), (0.11, 3), (0.21, 2), (0.31, 1), (0.41, 1), (1, 1)],
)
def test_epsilon_cuts_below_a_probability_not_the_best(epsilon: float, survivors: int) -> None:
    assert kept([EpsilonCutoff(epsilon)], P4) == [0, 1, 2, 3][:survivors]


def test_epsilon_is_not_in_units_of_one_in_ten_thousand() -> None:
    assert kept([EpsilonCutoff(3e-4)], [0.9996, 2e-4, 2e-4]) == [0]
    assert kept([EpsilonCutoff(3e-4)], [0.9993, 2e-4, 5e-4]) == [0, 2]


def test_of_a_tie_below_epsilon_the_lowest_token_id_stays() -> None:
    assert kept([EpsilonCutoff(0.5)], [1 / 3] * 3) == [0]


@pytest.mark.parametrize(
    ("epsilon", "survivors"),
    [
        # H = ln 4 on the even four, exp(-H) = 1/4: the line is min(ε, sqrt(ε)/4).
        (0.9, 4),  # min(0.9, 0.2372) < 0.25
        (0.99, 4),  # 0.2487
        (0.0001, 4),
    ],
)
def test_eta_of_an_even_distribution_keeps_all(epsilon: float, survivors: int) -> None:
    assert len(kept([EtaCutoff(epsilon)], [0.25] * 4)) == survivors


def test_eta_is_epsilon_where_the_model_is_sure() -> None:
    # H = -(0.97 ln 0.97 + 3 · 0.01 ln 0.01) = 0.0295 + 0.1382 = 0.1677, exp(-H) = 0.8456;
    # sqrt(ε) > ε / exp(-H) for every ε below 0.715: the line is ε.
    assert kept([EtaCutoff(0.011)], [0.97, 0.01, 0.01, 0.01]) == [0]
    assert kept([EtaCutoff(0.009)], [0.97, 0.01, 0.01, 0.01]) == [0, 1, 2, 3]


def test_eta_counts_the_entropy_in_nats() -> None:
    # 1000 even tokens: H = 6.908 nats, exp(-H) = 1/1000 (with bits, exp(-9.966) = 4.7e-5).
    # One more token of a fourth of their probability, p = 2.499e-4. H and exp(-H) stay nearly:
    # sqrt(0.04)/1000 = 2.0e-4 keeps it, sqrt(0.09)/1000 = 3.0e-4 does not. With bits both keep.
    shares = [4.0] * 1000 + [1.0]
    probabilities = [share / 4001 for share in shares]
    assert len(kept([EtaCutoff(0.04)], probabilities)) == 1001
    assert len(kept([EtaCutoff(0.09)], probabilities)) == 1000


@pytest.mark.parametrize(
    ("a", "survivors"),
    [
        # 0.4² = 0.16: tokens of at least 0.16 a.
        (0, 4),
        (0.62, 4),  # 0.0992
        (0.63, 3),  # 0.1008
        (1, 3),  # 0.16
    ],
)
def test_top_a_cuts_below_a_times_the_square_of_the_best(a: float, survivors: int) -> None:
    assert kept([TopA(a)], P4) == [0, 1, 2, 3][:survivors]


def test_top_a_grows_with_the_square_of_the_best() -> None:
    # 0.8² = 0.64: 0.3 · 0.64 = 0.192 cuts 0.19; linear in the best it would be 0.24 and cut all.
    assert kept([TopA(0.3)], [0.8, 0.2]) == [0, 1]
    assert kept([TopA(0.32)], [0.8, 0.2]) == [0]  # 0.2048


def test_top_a_sees_what_the_rule_before_left() -> None:
    # Of 0.4 and 0.3, 4/7 and 3/7: (4/7)² = 0.3265 < 0.4286. Of three, 4/9, 3/9, 2/9:
    # (4/9)² = 0.1975 < 0.2222.
    assert kept([TopK(3), TopA(1)], P4) == [0, 1, 2]
    assert kept([TopA(1), TopK(2), TopA(1)], P4) == [0, 1]


@pytest.mark.parametrize(
    ("probabilities", "survivors"),
    [
        (P4, [0, 1]),  # 0.16 + 0.09 + 0.04 + 0.01 = 0.3: 0.3 stands on the line
        ([0.41, 0.29, 0.2, 0.1], [0]),  # 0.1681 + 0.0841 + 0.04 + 0.01 = 0.3022
        ([0.9, 0.1], [0]),  # 0.82
        ([0.5, 0.5], [0, 1]),  # 0.5 on the line
        ([0.35, 0.35, 0.3], [0, 1]),  # 0.1225 + 0.1225 + 0.09 = 0.335
        ([0.34, 0.33, 0.33], [0]),  # 0.3334
        ([1.0], [0]),
        ([0.0, 1.0], [1]),
    ],
)
def test_p_less_cuts_below_the_chance_that_two_draws_agree(
    probabilities: list[float], survivors: list[int]
) -> None:
    assert kept([PLess()], probabilities) == survivors


@pytest.mark.parametrize("size", [2, 3, 7, 10, 999, 50_000])
def test_p_less_keeps_every_token_of_an_even_distribution(size: int) -> None:
    assert len(decode(np.full(size, 0.37), [PLess()]).final) == size


@pytest.mark.parametrize(
    ("n", "survivors"),
    [
        # Logits 4, 2, 1, 1: mean 2, deviations 2, 0, -1, -1, population σ = sqrt(6/4) = 1.2247.
        # By the sample, sqrt(6/3) = 1.4142, and n = 1.5 would reach 4 - 2.12 = 1.88 and keep 2.
        (0, [0, 1, 2, 3]),
        (1.5, [0]),  # 4 - 1.837 = 2.163
        (1.64, [0, 1]),  # 4 - 2.009 = 1.991
        (2.4, [0, 1]),  # 4 - 2.939 = 1.061
        (2.46, [0, 1, 2, 3]),  # 4 - 3.013 = 0.987
        (1000, [0, 1, 2, 3]),
    ],
)
def test_top_n_sigma_counts_the_population_deviation_down_from_the_best(
    n: float, survivors: list[int]
) -> None:
    assert decode([4.0, 2.0, 1.0, 1.0], [TopNSigma(n)]).final.token_ids.tolist() == survivors


def test_top_n_sigma_measures_finite_logits_only() -> None:
    logits = [4.0, -math.inf, 2.0, 1.0, 1.0, -math.inf]
    assert decode(logits, [TopNSigma(1.5)]).final.token_ids.tolist() == [0]
    assert decode(logits, [TopNSigma(1.64)]).final.token_ids.tolist() == [0, 2]
    assert decode(logits, [TopNSigma(1000)]).final.token_ids.tolist() == [0, 2, 3, 4]


def test_top_n_sigma_after_another_rule_measures_what_is_left() -> None:
    # Of 4 and 2, σ = 1: 4 - 1.5 = 2.5 cuts 2, 4 - 2.1 keeps it.
    assert len(decode([4.0, 2.0, 1.0, 1.0], [TopK(2), TopNSigma(1.5)]).final) == 1
    assert len(decode([4.0, 2.0, 1.0, 1.0], [TopK(2), TopNSigma(2.1)]).final) == 2


@pytest.mark.parametrize("logits", [[0.0] * 5, [-7.3] * 3, [2.0], [0.1] * 30])
def test_top_n_sigma_of_equal_logits_keeps_all(logits: list[float]) -> None:
    assert len(decode(logits, [TopNSigma(0.001)]).final) == len(logits)


@pytest.mark.parametrize("temperature", [1e-9, 0.01, 0.6, 3.0, 1e5])
@pytest.mark.parametrize("n", [0.31, 1.0, 1.7])
def test_a_temperature_does_not_change_what_top_n_sigma_keeps(temperature: float, n: float) -> None:
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(0, 3, 200)
        alone = decode(logits, [TopNSigma(n)]).final.token_ids
        heated = decode(logits, [Temperature(temperature), TopNSigma(n)]).final.token_ids
        np.testing.assert_array_equal(heated, alone)
