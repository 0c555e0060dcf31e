"""Mirostat against the paper's formulas, llama.cpp's code, and its own promise."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.decoding import (
    Candidates,
    Chain,
    Distribution,
    Greedy,
    MirostatV1,
    MirostatV2,
    StatefulStep,
    Temperature,
    TopK,
    advance,
    decode,
    draw,
    uniform,
)
from explorer.decoding.chain import observe, resume
from tests.decoding.strategies import tie_free_logits

P3 = [0.5, 0.3, 0.2]  # 1, 1.7370 and 2.3219 bits
BOTH = [MirostatV1, MirostatV2]


def zipf(size: int, s: float = 1.0) -> NDArray[np.float64]:
    return -s * np.log(np.arange(1, size + 1))


def bits(probability: float) -> float:
    return -math.log2(probability)


@pytest.mark.parametrize(
    ("mu", "survivors"),
    [(-3, 1), (0, 1), (0.99, 1), (1.01, 1), (1.73, 1), (1.74, 2), (2.32, 2), (2.33, 3), (50, 3)],
)
def test_v2_keeps_what_surprises_by_at_most_mu(mu: float, survivors: int) -> None:
    assert len(decode(np.log(P3), [MirostatV2(5, 0.1, mu)]).final) == survivors


def test_mu_starts_at_twice_tau() -> None:
    for tau in (0.4, 0.88, 1.2):
        for kind in BOTH:
            started, given_mu = kind(tau, 0.1), kind(tau, 0.1, 2 * tau)
            assert started.current_mu == given_mu.current_mu == 2 * tau
            logits = np.random.default_rng(0).normal(0, 2, 300)
            one, other = decode(logits, [started]), decode(logits, [given_mu])
            assert one.final.token_ids.tolist() == other.final.token_ids.tolist()


@pytest.mark.parametrize("kind", BOTH)
def test_mu_moves_by_eta_times_the_surprise_beyond_tau(kind: type) -> None:
    # Of all three tokens, each has its own surprise.
    chain = (kind(3.0, 0.5, 20.0),)
    trace = decode(np.log(P3), chain)
    assert len(trace.final) == 3
    for token_id, p in enumerate(P3):
        (step,) = advance(chain, trace, token_id)
        assert isinstance(step, StatefulStep)
        assert step.mu == pytest.approx(20 - 0.5 * (bits(p) - 3))


def test_the_surprise_is_measured_on_the_renormalised_survivors() -> None:
    chain = (MirostatV2(1.0, 0.5),)  # mu = 2 keeps 0.5 and 0.3: 5/8 and 3/8
    trace = decode(np.log(P3), chain)
    assert advance(chain, trace, 1)[0].mu == pytest.approx(2 - 0.5 * (bits(3 / 8) - 1))
    # What a later rule does with them is not Mirostat's business.
    longer = (*chain, Greedy())
    assert advance(longer, decode(np.log(P3), longer), 0)[0].mu == pytest.approx(
        2 - 0.5 * (bits(5 / 8) - 1)
    )


def test_one_survivor_surprises_by_nothing_and_mu_recovers_by_eta_tau() -> None:
    for kind in BOTH:
        chain: Chain = (kind(2.0, 0.25, -4.0),)
        for _ in range(3):
            trace = decode(np.log(P3), chain)
            assert len(trace.final) == 1
            chain = advance(chain, trace, 0)
        assert chain[0].mu == pytest.approx(-4 + 3 * 0.25 * 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", BOTH)
def test_a_token_that_was_picked_although_cut_is_measured_on_what_came_in(kind: type) -> None:
    chain = (TopK(3), kind(1.0, 0.5, 0.1))
    trace = decode(np.log([0.4, 0.24, 0.16, 0.2]), chain)
    assert len(trace.final) == 1
    # After top-k, 0.4, 0.24 and 0.2 of 0.84.
    step = advance(chain, trace, 3)[1]
    assert step.mu == pytest.approx(0.1 - 0.5 * (bits(0.2 / 0.84) - 1))
    (seen,) = observe(trace, 3)
    assert seen.surprise == pytest.approx(bits(0.2 / 0.84))
    assert seen.error == pytest.approx(bits(0.2 / 0.84) - 1)


@pytest.mark.parametrize("kind", BOTH)
def test_a_token_that_never_came_to_it_leaves_mu_alone(kind: type) -> None:
    chain = (TopK(2), kind(1.0, 0.5, 0.7))
    trace = decode([*np.log(P3), -math.inf], chain)
    for token_id in (2, 3):
        assert advance(chain, trace, token_id)[1].mu == 0.7
        (seen,) = observe(trace, token_id)
        assert (seen.surprise, seen.error, seen.next_mu) == (None, None, 0.7)
    impossible = (kind(1.0, 0.5, 50.0),)
    trace = decode([*np.log(P3), -math.inf], impossible)
    assert advance(impossible, trace, 3)[0].mu == 50.0


def test_what_is_observed() -> None:
    chain = (MirostatV2(1.0, 0.5), TopK(1), MirostatV1(2.0, 0.1, 3.0))
    trace = decode(np.log(P3), chain)
    two, one = observe(trace, 0)
    assert (two.tau, two.mu, two.kept, two.cut) == (1.0, 2.0, 2, 0.25)  # 2^-mu
    assert two.surprise == pytest.approx(bits(5 / 8))
    assert two.next_mu == pytest.approx(2 - 0.5 * (bits(5 / 8) - 1))
    assert (one.tau, one.mu, one.kept, one.cut) == (2.0, 3.0, 1, 1.0)
    assert (one.surprise, one.error) == (0.0, -2.0)
    assert one.next_mu == pytest.approx(3.2)
    below = decode(np.log(P3), [MirostatV2(1.0, 0.5, -2.0)])
    assert observe(below, 0)[0].cut == 1.0
    assert observe(decode(np.log(P3), [TopK(2)]), 0) == ()


def test_the_old_chain_brings_the_old_mu_back() -> None:
    logits = np.random.default_rng(4).normal(0, 2, 500)
    first: Chain = (Temperature(0.9), MirostatV2(2.0, 0.3))
    chains, drawn = [first], []
    for position in range(20):
        trace = decode(logits, chains[-1])
        drawn.append(draw(trace, uniform(1, position)))
        chains.append(advance(chains[-1], trace, drawn[-1]))
    assert len({chain[1].mu for chain in chains}) == 21  # type: ignore[attr-defined]
    again = chains[7]
    for position in range(7, 20):
        trace = decode(logits, again)
        assert draw(trace, uniform(1, position)) == drawn[position]
        again = advance(again, trace, drawn[position])
    assert again == chains[20]


def test_a_changed_chain_takes_the_states_along() -> None:
    last = (
        MirostatV2(5.0, 0.1, 9.0),
        TopK(3),
        MirostatV1(5.0, 0.1, 8.0),
        MirostatV2(4.0, 0.1, 7.0),
    )
    chain = (MirostatV1(3.0, 0.2), MirostatV2(3.0, 0.2), MirostatV2(2.0, 0.2), MirostatV2(1.0, 0.2))
    assert resume(chain, last) == (
        MirostatV1(3.0, 0.2, 8.0),
        MirostatV2(3.0, 0.2, 9.0),
        MirostatV2(2.0, 0.2, 7.0),
        MirostatV2(1.0, 0.2),
    )
    assert resume((TopK(1),), last) == (TopK(1),)
    assert resume(chain, ()) == chain


def llama_cpp_k(p: NDArray[np.float64], mu: float, m: int) -> float:
    """`llama_sampler_mirostat_apply`, line by line, before its `std::max(int(k), 1)`."""
    sum_ti_bi = sum_ti_sq = 0.0
    i = 0
    while i < m - 1 and i < len(p) - 1:
        t_i = math.log((i + 2) / (i + 1))
        b_i = math.log(p[i] / p[i + 1])
        sum_ti_bi += t_i * b_i
        sum_ti_sq += t_i * t_i
        i += 1
    s_hat = sum_ti_bi / sum_ti_sq
    epsilon_hat = s_hat - 1
    base = np.float64((epsilon_hat * 2**mu) / (1 - float(len(p)) ** -epsilon_hat))
    with np.errstate(over="ignore"):
        return min(1e6, float(base ** (1 / s_hat)))


@settings(max_examples=300, deadline=None)
@given(
    tie_free_logits | st.integers(101, 400).map(lambda n: zipf(n, 1.3) + np.sin(np.arange(n)) / 9),
    st.integers(-20, 110).map(lambda part: part / 9.97),
    st.sampled_from([2, 3, 10, 100, 1000]),
)
def test_v1_cuts_where_llama_cpp_does(logits: NDArray[np.float64], mu: float, m: int) -> None:
    candidates = decode(logits, []).final
    k = llama_cpp_k(candidates.probabilities, mu, m)
    assume(abs(k - round(k)) > 1e-6 * k or k >= len(logits) + 1)  # else rounding decides
    kept = len(decode(logits, [MirostatV1(3.0, 0.1, mu, m)]).final)
    assert kept == min(len(logits), max(int(k), 1))


def test_v1_counts_the_whole_vocabulary_after_a_cut() -> None:
    # Zipf of s = 1: k = 2^mu / ln N, with N = 1000 although 20 are left: 64 / 6.908 = 9.26;
    # 64 / ln 20 would be 21.4.
    assert len(decode(zipf(1000), [TopK(20), MirostatV1(3.0, 0.1)]).final) == 9


@pytest.mark.parametrize("mu", [1.0, 3.3, 5.0, 6.0, 8.5, 9.5])
@pytest.mark.parametrize("size", [10, 1000, 50_000])
def test_v1_at_an_exponent_of_1_is_its_limit(mu: float, size: int) -> None:
    # e / (1 - N^-e) goes to 1 / ln N.
    k = 2**mu / math.log(size)
    assert abs(k - round(k)) > 1e-6
    for s in (1.0, 1 - 1e-13, 1 + 1e-13, 1 + 1e-9):
        final = decode(zipf(size, s), [MirostatV1(3.0, 0.1, mu)]).final
        assert len(final) == min(size, max(1, math.floor(k)))


@pytest.mark.parametrize("size", [2, 5, 100, 1000])
def test_v1_of_equal_logits_keeps_one_or_all(size: int) -> None:
    # s -> 0: (2^mu / (N - 1))^(1/s) goes to 0 or to infinity.
    turn = math.log2(size - 1)
    assert len(decode(np.zeros(size), [MirostatV1(3.0, 0.1, turn - 0.01)]).final) == 1
    assert len(decode(np.zeros(size), [MirostatV1(3.0, 0.1, turn + 0.01)]).final) == size


def test_v1_measures_possible_tokens_only() -> None:
    # One ratio: t = ln 2, b = 2 ln 2, so s = 2 and e = 1: k = (2^mu / (1 - 1/4))^(1/2).
    logits = [0.0, -math.inf, -2 * math.log(2), -math.inf]
    for mu, k in [(1.5, 1), (1.6, 2)]:  # 1.942 and 2.011
        final = decode(logits, [MirostatV1(1.0, 0.1, mu)]).final
        assert final.token_ids.tolist() == [0, 2][:k]


def test_v1_with_one_possible_token_keeps_it() -> None:
    for logits in ([3.0], [-math.inf, 3.0, -math.inf]):
        trace = decode(logits, [MirostatV1(9.0, 0.1)])
        assert trace.final.logits.tolist() == [3.0]


def test_v1_without_a_known_vocabulary_counts_what_it_gets() -> None:
    candidates = Candidates(np.arange(1000), zipf(1000))
    assert MirostatV1(3.0, 0.1).k(candidates) == 9


def test_v2_counts_in_bits_of_the_probability_it_gets() -> None:
    # Roots of 0.64 and 0.36 at temperature 2: 4/7 and 3/7, 0.807 and 1.222 bits.
    logits = np.log([0.64, 0.36])
    assert len(decode(logits, [Temperature(2), MirostatV2(5, 0.1, 1.21)]).final) == 1
    assert len(decode(logits, [Temperature(2), MirostatV2(5, 0.1, 1.23)]).final) == 2


def test_v2_never_keeps_what_is_impossible() -> None:
    assert len(decode([0.0, -math.inf], [MirostatV2(5, 0.1, 1e6)]).final) == 1


@pytest.mark.parametrize(
    ("chain", "size", "s"),
    [
        ((kind(tau, eta),), size, s)
        for kind in BOTH
        for tau, eta, size, s in [
            (1.5, 0.1, 1_000, 1.0),
            (3.0, 0.1, 1_000, 1.0),
            (5.0, 0.1, 5_000, 1.0),
            (3.0, 1.0, 1_000, 1.0),
            (2.0, 0.1, 1_000, 1.3),
        ]
    ]
    + [((Temperature(1.2), MirostatV2(4.0, 0.2)), 2_000, 1.1)],  # type: ignore[list-item]
    ids=str,
)
def test_in_the_long_run_the_surprise_is_tau(chain: Chain, size: int, s: float) -> None:
    distribution = Distribution.from_logits(np.random.default_rng(9).permutation(zipf(size, s)))
    tau = chain[-1].tau  # type: ignore[attr-defined]
    surprises, kept = [], set()
    for position in range(2_000):
        trace = decode(distribution, chain)
        token_id = draw(trace, uniform(17, position))
        surprises.append(bits(float(trace.final.probabilities[trace.final.place_of(token_id)])))
        kept.add(len(trace.final))
        chain = advance(chain, trace, token_id)
    assert np.mean(surprises) == pytest.approx(tau, abs=0.1)
    # Not by sitting still: it steers, and the second half alone is as close.
    assert len(kept) >= 3
    assert np.mean(surprises[1_000:]) == pytest.approx(tau, abs=0.15)


@pytest.mark.parametrize("kind", BOTH)
def test_mu_never_leaves_its_range(kind: type) -> None:
    for tau, mu in [(100.0, 1e6), (0.0, -1e6)]:
        chain: Chain = (kind(tau, 1000.0, mu),)
        for _ in range(3):
            trace = decode([0.0, -1.0, -2.0], chain)
            chain = advance(chain, trace, int(trace.final.token_ids[-1]))
            assert abs(chain[0].mu) <= 1e6  # type: ignore[attr-defined]
