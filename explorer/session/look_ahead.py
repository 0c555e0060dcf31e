"""What lies ahead of a prefix: continuations as a tree, and searches that grow one.

A search is an immutable value. `advance` asks the backend once and returns the search after
that, so that whoever runs it can show each state, and stop between any two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from explorer.backends.base import Backend, ContextTooLong
from explorer.decoding import Chain
from explorer.session.generation import draw_next

ROOT = -1  # the place of the prefix itself


@dataclass(frozen=True, slots=True)
class AheadNode:
    """A token of a continuation; its parent stands before it, at a lower place."""

    parent: int  # place in the search's nodes, or ROOT
    token_id: int
    logprob: float  # raw, in nats
    total: float  # from the prefix to here: the logarithm of the product of probabilities
    depth: int  # 1 after the prefix
    ends: bool = False  # an end token: nothing follows


Nodes = tuple[AheadNode, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """One continuation that a search found."""

    place: int  # of its last node
    token_ids: tuple[int, ...]
    total: float  # sum of raw log-probabilities, in nats
    score: float | None = None  # what the search ranks by, where that is another number
    finished: bool = True


class Search(Protocol):
    """A look-ahead under way, or done."""

    @property
    def prefix(self) -> tuple[int, ...]: ...
    @property
    def nodes(self) -> Nodes: ...
    @property
    def done(self) -> bool: ...

    def paths(self) -> tuple[Path, ...]:
        """What was found, best first."""
        ...

    def advance(self, backend: Backend) -> "Search":
        """One step further; a search that is done stays as it is."""
        ...


def run(search: Search, backend: Backend) -> Iterator[Search]:
    """Every state of a search until it is done."""
    while not search.done:
        search = search.advance(backend)
        yield search


def tail(nodes: Nodes, place: int) -> tuple[int, ...]:
    """The token ids from the prefix to a node.

    >>> tail((AheadNode(ROOT, 7, -0.5, -0.5, 1), AheadNode(0, 9, -0.1, -0.6, 2)), 1)
    (7, 9)
    """
    token_ids: list[int] = []
    while place != ROOT:
        token_ids.append(nodes[place].token_id)
        place = nodes[place].parent
    return tuple(reversed(token_ids))


def total_of(nodes: Nodes, place: int) -> float:
    return 0.0 if place == ROOT else nodes[place].total


def room(prefix: tuple[int, ...], backend: Backend, depth: int) -> int:
    """How many tokens of `depth` still fit into the context; at least one, or an error."""
    left = backend.info.context_length - len(prefix)
    if left < 1:
        raise ContextTooLong(len(prefix) + 1, backend.info.context_length)
    return min(depth, left)


@dataclass(frozen=True, slots=True)
class DrawnPath:
    """One continuation, each token drawn from the final distribution of a chain.

    With `Greedy` in the chain it is the greedy path.
    """

    prefix: tuple[int, ...]
    chain: Chain  # for the next token
    seed: int
    start: int  # length of the prompt, after which constraints begin
    depth: int
    nodes: Nodes = ()
    done: bool = False

    def advance(self, backend: Backend) -> "DrawnPath":
        if self.done:
            return self
        depth = room(self.prefix, backend, self.depth)
        here = self.prefix + tuple(node.token_id for node in self.nodes)
        drawn = draw_next(backend, here, self.chain, self.seed, self.start)
        assert drawn.logprob is not None, "a drawn token stands in its distribution"
        total = total_of(self.nodes, len(self.nodes) - 1) + drawn.logprob
        ends = drawn.token_id in backend.info.end_token_ids
        place = len(self.nodes)
        node = AheadNode(place - 1, drawn.token_id, drawn.logprob, total, place + 1, ends)
        nodes = (*self.nodes, node)
        return replace(self, nodes=nodes, chain=drawn.chain, done=ends or len(nodes) >= depth)

    def paths(self) -> tuple[Path, ...]:
        if not self.nodes:
            return ()
        last = len(self.nodes) - 1
        return (Path(last, tail(self.nodes, last), self.nodes[last].total, finished=self.done),)
