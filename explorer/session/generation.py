"""Drawing the next token, once or again and again."""

from collections.abc import Iterator
from dataclasses import dataclass

from explorer.backends.base import Backend, score_from
from explorer.decoding import (
    Chain,
    Observation,
    advance,
    flip,
    observe,
    place_drawn,
    resume,
    uniform,
)
from explorer.session.tracing import trace_prefix


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and how it came about; probabilities and entropy are of the moment before it."""

    token_id: int
    u: float
    raw_probability: float
    logprob: float | None  # raw, in nats: exact where the probability is too small for a float
    probability: float  # final: after the chain
    rank: int  # in the raw distribution
    entropy: float | None  # of the raw distribution, in nats
    applied: Chain  # the chain of this draw, every coin fallen
    chain: Chain  # for the position after this token
    observed: tuple[Observation, ...]  # what the stateful steps saw of the token
    bounds: tuple[float, float] | None = None  # of the final probability, where it is not exact
    unsent: tuple[float, float] = (0.0, 0.0)  # share of tokens that a server did not send


def draw_next(
    backend: Backend, prefix: tuple[int, ...], chain: Chain, seed: int, start: int
) -> Drawn:
    """Draw one token; the same prefix length, chain and seed always give the same u.

    `start` is the length of the prompt, after which constraints begin.
    """
    applied = flip(chain, seed, len(prefix))
    trace = trace_prefix(backend, prefix, applied, start)
    distribution = trace.distribution
    u = uniform(seed, len(prefix))
    place = place_drawn(trace, u)
    survivors = trace.final.head(place + 1)
    token_id = int(survivors.token_ids[place])
    scored = score_from(distribution, token_id)
    rank = scored.rank
    assert rank is not None, "a drawn token stands in its distribution"
    certainty = trace.certainty
    bounds = certainty.of(rank - 1)
    probability = float(survivors.probabilities[place])
    return Drawn(
        token_id=token_id,
        u=u,
        raw_probability=distribution.probability_of(token_id),
        logprob=scored.logprob,
        probability=probability if bounds is None else min(max(probability, bounds[0]), bounds[1]),
        rank=rank,
        entropy=distribution.entropy,
        applied=applied,
        chain=resume(chain, advance(applied, trace, token_id)),
        observed=observe(trace, token_id),
        bounds=bounds,
        unsent=certainty.unsent,
    )


def continue_text(
    backend: Backend, prefix: tuple[int, ...], chain: Chain, seed: int, max_tokens: int
) -> Iterator[Drawn]:
    """Draw up to `max_tokens`; stops after an end token, or when the context is full."""
    start = len(prefix)
    for _ in range(max_tokens):
        if len(prefix) >= backend.info.context_length:
            return
        drawn = draw_next(backend, prefix, chain, seed, start)
        yield drawn
        if drawn.token_id in backend.info.end_token_ids:
            return
        prefix, chain = (*prefix, drawn.token_id), drawn.chain
