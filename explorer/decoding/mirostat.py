"""Mirostat: a cut that is steered so that the text's surprise stays at a target.

Basu et al. (2021). All in bits, as the authors confirm for their code; the surprise of a drawn
token is measured on the renormalised survivors, as in llama.cpp.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates, Head
from explorer.decoding.measure import Measured, ranks
from explorer.decoding.parameters import check_count, check_real

if TYPE_CHECKING:
    from explorer.decoding.chain import Stage

WIDEST = 1e6  # bits; far beyond any surprise in use


@dataclass(frozen=True, slots=True)
class Observation:
    """What a Mirostat step saw of one token, and what it did about it; in bits."""

    tau: float
    mu: float  # before the token
    surprise: float | None  # None for a token that an earlier rule had cut
    error: float | None  # surprise - tau
    kept: int  # survivors of the cut
    cut: float  # v1: k; v2: the least probability that stayed within mu
    next_mu: float


def _surprisal(head: Head) -> NDArray[np.float64]:  # (n,) bits, ascending
    log_best = math.log(head.probabilities[0])
    bits: NDArray[np.float64] = (head.logits[0] - head.logits - log_best) / math.log(2)
    return bits


def _check(tau: float, eta: float, mu: float | None) -> None:
    check_real("tau", tau, 0, 100)
    check_real("eta", eta, 0, 1000)
    if mu is not None:
        check_real("mu", mu, -WIDEST, WIDEST)


def _observe(
    step: "MirostatV1 | MirostatV2", stage: "Stage", token_id: int, cut: float
) -> Observation:
    mu, kept = step.current_mu, len(stage.kept)
    # A token that was picked though this step cut it is measured on what the step was given.
    for candidates in (stage.kept, stage.before):
        place = candidates.place_of(token_id)
        if place is None:
            continue
        surprise = float(_surprisal(candidates.head(place + 1))[place])
        if math.isfinite(surprise):
            error = surprise - step.tau
            following = min(WIDEST, max(-WIDEST, mu - step.eta * error))
            return Observation(step.tau, mu, surprise, error, kept, cut, following)
    return Observation(step.tau, mu, None, None, kept, cut, mu)


@dataclass(frozen=True, slots=True)
class MirostatV1:
    """Estimate the exponent of Zipf's law from the `m` best tokens, and from it the k for mu.

    With t_i = ln((i+1)/i) and b_i = ln(p_i/p_(i+1)) over m - 1 ratios: s = sum(t b) / sum(t^2),
    e = s - 1, k = (e 2^mu / (1 - N^-e))^(1/s), N the vocabulary's size; then the top k, with
    the fraction dropped and at least 1 (llama.cpp; the authors round up). mu starts at 2 tau,
    and after each token mu <- mu - eta * (surprise - tau).

    >>> zipf = Candidates(np.arange(1000), -np.log(np.arange(1, 1001)))  # s = 1: k = 2^mu / ln N
    >>> len(MirostatV1(3.0, 0.1)(zipf, ()))  # 64 / 6.9
    9
    """

    label: ClassVar[str] = "Mirostat v1"
    tau: float
    eta: float
    mu: float | None = None
    m: int = 100

    def __post_init__(self) -> None:
        _check(self.tau, self.eta, self.mu)
        check_count("m", self.m, 2, 100_000)

    @property
    def current_mu(self) -> float:
        return 2 * self.tau if self.mu is None else self.mu

    def k(self, candidates: Candidates) -> int:
        """How many candidates stay."""
        return self._k(candidates, len(candidates))

    def _k(self, candidates: Candidates, most: int) -> int:
        """What v1 estimates, at least 1 and at `most` so many."""
        logits = candidates.head(self.m).logits[: self.m]
        logits = logits[np.isfinite(logits)]
        if len(logits) < 2:
            return 1
        ranks = np.arange(1, len(logits))
        t, b = np.log((ranks + 1) / ranks), logits[:-1] - logits[1:]
        s = float(t @ b) / float(t @ t)
        vocabulary = candidates.vocab_size or len(candidates)
        log_factor = _log_zipf_factor(s - 1, math.log(vocabulary))
        log_base = log_factor + self.current_mu * math.log(2)
        # All equal: the limit of s -> 0 keeps one token or all.
        log_k = log_base / s if s > 0 else math.copysign(math.inf, log_base)
        if log_k >= math.log(most):
            return most
        return max(1, math.floor(math.exp(log_k)))

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return candidates.first(self.k(candidates))

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        # Not cut down to the candidates: a server may have sent fewer than there are.
        most = candidates.vocab_size or len(candidates)
        return Measured("rank", ranks(places), float(self._k(candidates, most)), "at_most")

    def observed(self, stage: "Stage", token_id: int) -> Observation:
        return _observe(self, stage, token_id, float(len(stage.kept)))

    def advanced(self, stage: "Stage", token_id: int) -> "MirostatV1":
        return replace(self, mu=self.observed(stage, token_id).next_mu)


def _log_zipf_factor(e: float, log_n: float) -> float:
    """ln(e / (1 - N^-e)), which at e = 0 has the limit 1 / ln N."""
    if abs(e * log_n) < 1e-9:
        return -math.log(log_n) if log_n > 0 else 0.0
    if e > 0:
        return math.log(e) - math.log(-math.expm1(-e * log_n))
    # e < 0: (-e) / (N^-e - 1), whose power is kept out of the exponential.
    x = -e * log_n
    return math.log(-e) - (x + math.log(-math.expm1(-x)))


@dataclass(frozen=True, slots=True)
class MirostatV2:
    """Keep the tokens whose surprise, -log2 p, is at most mu; at least one.

    mu starts at 2 tau, and after each token mu <- mu - eta * (surprise - tau): texts that
    surprise more than tau narrow the choice, dull ones widen it.

    >>> three = Candidates(np.arange(3), np.log([0.5, 0.3, 0.2]))
    >>> MirostatV2(1.0, 0.1)(three, ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "Mirostat v2"
    tau: float
    eta: float
    mu: float | None = None

    def __post_init__(self) -> None:
        _check(self.tau, self.eta, self.mu)

    @property
    def current_mu(self) -> float:
        return 2 * self.tau if self.mu is None else self.mu

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        surprisal = _surprisal(candidates.head(1))
        if surprisal[-1] <= self.current_mu:  # of those at hand, none is cut
            surprisal = _surprisal(candidates)
        within = int(np.searchsorted(surprisal, self.current_mu, "right"))
        return candidates.first(max(1, within))

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        bits = _surprisal(candidates.head(int(places.max(initial=0)) + 1))[places]
        return Measured("surprisal", bits, self.current_mu, "at_most")

    def observed(self, stage: "Stage", token_id: int) -> Observation:
        return _observe(self, stage, token_id, 2.0 ** -max(0.0, self.current_mu))

    def advanced(self, stage: "Stage", token_id: int) -> "MirostatV2":
        return replace(self, mu=self.observed(stage, token_id).next_mu)
