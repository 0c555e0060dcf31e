"""Drawing the next token, once or again and again."""

from collections.abc import Iterator
from dataclasses import dataclass

from explorer.backends.base import Backend
from explorer.decoding import Chain, advance, decode, draw, uniform


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and how it came about; probabilities and entropy are of the moment before it."""

    token_id: int
    u: float
    raw_probability: float
    probability: float  # final: after the chain
    rank: int  # in the raw distribution
    entropy: float | None  # of the raw distribution, in nats
    chain: Chain  # for the position after this token


def draw_next(backend: Backend, prefix: tuple[int, ...], chain: Chain, seed: int) -> Drawn:
    """Draw one token; the same prefix length, chain and seed always give the same u."""
    distribution = backend.next_distribution(prefix)
    trace = decode(distribution, chain, prefix)
    u = uniform(seed, len(prefix))
    token_id = draw(trace, u)
    rank = distribution.rank_of(token_id)
    assert rank is not None, "a drawn token stands in its distribution"
    return Drawn(
        token_id=token_id,
        u=u,
        raw_probability=float(distribution.probabilities[rank - 1]),
        probability=float(trace.probabilities[token_id]),
        rank=rank,
        entropy=distribution.entropy,
        chain=advance(chain, trace, token_id),
    )


def continue_text(
    backend: Backend, prefix: tuple[int, ...], chain: Chain, seed: int, max_tokens: int
) -> Iterator[Drawn]:
    """Draw up to `max_tokens`; stops after an end token, or when the context is full."""
    for _ in range(max_tokens):
        if len(prefix) >= backend.info.context_length:
            return
        drawn = draw_next(backend, prefix, chain, seed)
        yield drawn
        if drawn.token_id in backend.info.end_token_ids:
            return
        prefix, chain = (*prefix, drawn.token_id), drawn.chain
