"""The fewest continuations that hold a given share of the probability."""

import heapq
import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from explorer.backends.base import Backend, Continuations
from explorer.decoding.parameters import check_count, check_real
from explorer.session.look_ahead import ROOT, AheadNode, Nodes, Path, room, tail, total_of

MAX_NODES = 1000
MAX_DEPTH = 50
AT_ONCE = 8  # prefixes asked about in one forward pass

LEAST_SHARE, MOST_SHARE = 0.01, 0.999

Ending = Literal["covered", "node_limit", "exhausted"]


class Waiting(NamedTuple):
    """A node that may come into the tree; the least cost, the most probable, comes first."""

    cost: float  # -total, in nats
    parent: int
    token_id: int
    logprob: float
    depth: int
    ends: bool


@dataclass(frozen=True, slots=True)
class Cover:
    """The most probable continuations of `depth` tokens until they hold `share` of the mass.

    Best first (uniform-cost search): the most probable node not yet in the tree comes next,
    whatever its depth, and no node is less probable than what follows it. So the leaves come
    most probable first, and when their sum reaches `share` they are the fewest that can. With
    depth 1 they are the nucleus of top-p. An end token makes a leaf at any depth.

    >>> from explorer.backends.scripted import ScriptedBackend
    >>> backend = ScriptedBackend([b"a", b"b"], {(0,): [0.7, 0.3], (0, 0): [0.9, 0.1]})
    >>> search = Cover((0,), share=0.6, depth=2)
    >>> while not search.done:
    ...     search = search.advance(backend)
    >>> [path.token_ids for path in search.paths()], round(search.covered, 2)
    ([(0, 0)], 0.63)
    """

    prefix: tuple[int, ...]
    share: float = 0.8
    depth: int = 3
    most_nodes: int = 200
    nodes: Nodes = ()
    leaves: tuple[int, ...] = ()  # places, most probable first
    frontier: tuple[Waiting, ...] = ()  # a heap of what may come into the tree
    inner: int = ROOT  # the node that must be continued next
    ending: Ending | None = None

    def __post_init__(self) -> None:
        check_real("share", self.share, LEAST_SHARE, MOST_SHARE)
        check_count("depth", self.depth, 1, MAX_DEPTH)
        check_count("most_nodes", self.most_nodes, 1, MAX_NODES)

    @property
    def done(self) -> bool:
        return self.ending is not None

    @property
    def covered(self) -> float:
        """The share of all continuations that the leaves hold."""
        return math.fsum(math.exp(self.nodes[place].total) for place in self.leaves)

    def paths(self) -> tuple[Path, ...]:
        return tuple(
            Path(place, tail(self.nodes, place), self.nodes[place].total) for place in self.leaves
        )

    def advance(self, backend: Backend) -> "Cover":
        """As far as one question to the backend leads.

        The most probable nodes of the frontier are asked about in the same pass: each of them
        comes into the tree unless the search ends before.
        """
        if self.done:
            return self
        depth = room(self.prefix, backend, self.depth)
        known = self._ask(backend, depth)
        search, continued = self, self.inner
        while search.ending is None and (after := tail(search.nodes, continued)) in known:
            search = search._continued(known[after], backend.info.end_token_ids, depth)
            continued = search.inner
        return search

    def _ask(self, backend: Backend, depth: int) -> dict[tuple[int, ...], Continuations]:
        """What follows the node to be continued, and those that probably come after it."""
        likely = heapq.nsmallest(
            AT_ONCE - 1, (one for one in self.frontier if not one.ends and one.depth < depth)
        )
        tails = [tail(self.nodes, self.inner)]
        tails += [(*tail(self.nodes, one.parent), one.token_id) for one in likely]
        count = self.most_nodes - len(self.nodes)
        found = backend.continuations([self.prefix + after for after in tails], count)
        return dict(zip(tails, found, strict=True))

    def _continued(self, found: Continuations, ends: tuple[int, ...], depth: int) -> "Cover":
        """Continue the inner node; then take in what is most probable, up to the next such node."""
        nodes, leaves, frontier = list(self.nodes), list(self.leaves), list(self.frontier)
        before = total_of(self.nodes, self.inner)
        below = self.nodes[self.inner].depth + 1 if self.inner != ROOT else 1
        for token_id, logprob in zip(found.token_ids, found.logprobs, strict=True):
            if logprob > -math.inf:
                total = before + logprob
                ending = token_id in ends
                frontier.append(Waiting(-total, self.inner, token_id, logprob, below, ending))
        # More than there is room for can't come into the tree.
        frontier = heapq.nsmallest(self.most_nodes - len(nodes), frontier)
        covered = self.covered
        while frontier and len(nodes) < self.most_nodes:
            one = heapq.heappop(frontier)
            nodes.append(
                AheadNode(one.parent, one.token_id, one.logprob, -one.cost, one.depth, one.ends)
            )
            inner = not one.ends and one.depth < depth
            if inner and len(nodes) < self.most_nodes:
                return replace(
                    self,
                    nodes=tuple(nodes),
                    leaves=tuple(leaves),
                    frontier=tuple(frontier),
                    inner=len(nodes) - 1,
                )
            if inner:
                break
            leaves.append(len(nodes) - 1)
            covered += math.exp(-one.cost)
            if covered >= self.share:
                return replace(self, nodes=tuple(nodes), leaves=tuple(leaves), ending="covered")
        ending_here: Ending = "node_limit" if len(nodes) == self.most_nodes else "exhausted"
        return replace(self, nodes=tuple(nodes), leaves=tuple(leaves), ending=ending_here)
