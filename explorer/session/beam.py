"""Beam search, as transformers' `generate(num_beams=…)` does it."""

import heapq
import math
from dataclasses import dataclass, replace

from explorer.backends.base import Backend
from explorer.decoding.parameters import check_count, check_real
from explorer.session.look_ahead import ROOT, AheadNode, Nodes, Path, room, tail, total_of

MAX_WIDTH = 16
MAX_DEPTH = 50
LEAST_PENALTY, MOST_PENALTY = -5.0, 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A sequence that ended, by an end token or by the depth."""

    place: int
    score: float  # sum of log-probabilities / length ** length_penalty


@dataclass(frozen=True, slots=True)
class BeamSearch:
    """The `width` most probable continuations at each depth, each extended by one token.

    After transformers 5.23, `GenerationMixin._beam_search` with `early_stopping=False`: from
    each beam the tokens that make the most probable sequences; of the best `width` of these,
    the ones that end are put aside with their score, log-probability / length ** penalty; the
    best others go on. It stops at `depth`, or when no running beam looks better than the
    worst of `width` finished ones (a heuristic: it takes the score that a beam has by now).

    >>> from explorer.backends.scripted import ScriptedBackend
    >>> backend = ScriptedBackend(
    ...     [b"a", b"b"], {(0,): [0.6, 0.4], (0, 0): [0.5, 0.5], (0, 1): [0.1, 0.9]}
    ... )
    >>> search = BeamSearch((0,), width=2, depth=2, length_penalty=1.0)
    >>> for _ in range(2):
    ...     search = search.advance(backend)
    >>> search.paths()[0].token_ids  # greedy would begin with 0, and end at 0.3 instead of 0.36
    (1, 1)
    """

    prefix: tuple[int, ...]
    width: int
    depth: int
    length_penalty: float = 1.0
    nodes: Nodes = ()
    running: tuple[int, ...] = (ROOT,)  # places of the beams, best first
    finished: tuple[Finished, ...] = ()  # best first
    length: int = 0  # tokens after the prefix
    done: bool = False

    def __post_init__(self) -> None:
        check_count("width", self.width, 1, MAX_WIDTH)
        check_count("depth", self.depth, 1, MAX_DEPTH)
        check_real("length_penalty", self.length_penalty, LEAST_PENALTY, MOST_PENALTY)

    def advance(self, backend: Backend) -> "BeamSearch":
        """One token further: at most one forward pass."""
        if self.done:
            return self
        depth = room(self.prefix, backend, self.depth)
        best = self._best_continuations(backend)
        length, last = self.length + 1, self.length + 1 >= depth
        nodes, finished = list(self.nodes), list(self.finished)
        running: list[int] = []
        for rank, node in enumerate(best):
            goes_on = not (node.ends or last)
            if goes_on and len(running) < self.width:
                running.append(len(nodes))
                nodes.append(node)
            elif not goes_on and rank < self.width:
                finished.append(Finished(len(nodes), node.total / length**self.length_penalty))
                nodes.append(node)
        finished.sort(key=lambda one: -one.score)
        kept = tuple(finished[: self.width])
        return replace(
            self,
            nodes=tuple(nodes),
            running=tuple(running),
            finished=kept,
            length=length,
            done=not running or self._can_stop(nodes[running[0]], kept, length),
        )

    def _best_continuations(self, backend: Backend) -> list[AheadNode]:
        """The best sequences one token longer: enough that `width` of them do not end."""
        ends = backend.info.end_token_ids
        count = max(2, 1 + len(ends)) * self.width
        prefixes = [self.prefix + tail(self.nodes, place) for place in self.running]
        candidates = []
        for place, found in zip(self.running, backend.continuations(prefixes, count), strict=True):
            before = total_of(self.nodes, place)
            for token_id, logprob in zip(found.token_ids, found.logprobs, strict=True):
                node = AheadNode(
                    place, token_id, logprob, before + logprob, self.length + 1, token_id in ends
                )
                if logprob > -math.inf:  # not possible, and no continuation
                    candidates.append(node)
        return heapq.nlargest(count, candidates, key=lambda node: node.total)

    def _can_stop(self, best: AheadNode, finished: tuple[Finished, ...], length: int) -> bool:
        """Whether `width` are finished, and the best running beam is no better than the worst."""
        if len(finished) < self.width:
            return False
        hoped: float = best.total / length**self.length_penalty
        return hoped <= finished[-1].score

    def paths(self) -> tuple[Path, ...]:
        """The finished sequences and, while it is not done, the running beams; by score."""
        found = [(one.score, one.place, True) for one in self.finished]
        if not self.done:
            found += [
                (self.nodes[place].total / self.length**self.length_penalty, place, False)
                for place in self.running
                if place != ROOT
            ]
        found.sort(key=lambda one: -one[0])
        return tuple(
            Path(place, tail(self.nodes, place), self.nodes[place].total, score, finished)
            for score, place, finished in found
        )
