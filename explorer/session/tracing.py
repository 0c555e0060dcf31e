"""Decoding a prefix of a session: the model's distribution, the chain bound to its vocabulary."""

from explorer.backends.base import Backend
from explorer.decoding import Chain, Constraint, Trace, decode


def bind(backend: Backend, chain: Chain, start: int) -> Chain:
    """The chain with every constraint bound to the model's vocabulary.

    A constraint looks at the text after the first `start` tokens.
    """
    return tuple(
        step.bound(backend.grammar(step, start)) if isinstance(step, Constraint) else step
        for step in chain
    )


def trace_prefix(backend: Backend, prefix: tuple[int, ...], chain: Chain, start: int) -> Trace:
    """What comes next after the prefix, and what the chain makes of it.

    Raises `GrammarRefused` for a constraint that can't be compiled.
    """
    bound = bind(backend, chain, start)  # first: a bad grammar is told before a model runs
    return decode(backend.next_distribution(prefix), bound, prefix)
