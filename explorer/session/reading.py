"""What there is to see at one moment of a session: the path behind, the candidates ahead."""

import math
from dataclasses import dataclass
from typing import Literal

from explorer.backends.base import Backend, ModelInfo
from explorer.decoding import RankedToken, Ranking, Trace, rank_candidates
from explorer.session.session import Session
from explorer.session.tree import How

Stop = Literal["end_of_text", "context_full"]


@dataclass(frozen=True, slots=True)
class PathToken:
    """A token of the prompt or the continuation; `None` is unknown."""

    position: int
    token_id: int
    raw: bytes
    special: bool
    logprob: float | None
    rank: int | None
    entropy: float | None  # before it, in nats
    how: How | Literal["prompt"]
    u: float | None = None
    rank_beyond: int | None = None  # a rank that is unknown is greater than this

    @property
    def probability(self) -> float | None:
        return None if self.logprob is None else math.exp(self.logprob)

    @property
    def surprisal(self) -> float | None:
        """In bits."""
        return None if self.logprob is None else max(0.0, -self.logprob / math.log(2))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the table: a ranked token and the bytes it stands for."""

    ranked: RankedToken
    raw: bytes
    special: bool


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """One moment, read out: what every view is a view of."""

    session: Session
    info: ModelInfo
    path: tuple[PathToken, ...]
    candidates: tuple[Candidate, ...]
    ranking: Ranking
    trace: Trace

    @property
    def stop(self) -> Stop | None:
        """Why the text ends here, if it does."""
        if len(self.path) >= self.info.context_length:
            return "context_full"
        last = self.path[-1]
        if last.how != "prompt" and last.token_id in self.info.end_token_ids:
            return "end_of_text"
        return None


def read(session: Session, backend: Backend, top_n: int) -> Reading:
    """Read a session's moment. Costs a forward pass only for a prefix not seen before."""
    path = read_path(session, backend)  # first: one pass scores the prompt and predicts, too
    trace = session.trace(backend)
    ranking, candidates = read_candidates(backend, trace, top_n)
    return Reading(session, backend.info, path, candidates, ranking, trace)


def read_path(session: Session, backend: Backend) -> tuple[PathToken, ...]:
    tree = session.now.tree
    nodes = tree.path
    scored = backend.score(tree.prefix)
    tokens = []
    for position, score in enumerate(scored):
        token = backend.token(score.token_id)
        depth = position - len(tree.prompt)
        node = nodes[depth] if depth >= 0 else None
        tokens.append(
            PathToken(
                position=position,
                token_id=score.token_id,
                raw=token.raw,
                special=token.special,
                logprob=score.logprob,
                rank=score.rank,
                entropy=score.entropy,
                how=node.how if node else "prompt",
                u=node.u if node else None,
                rank_beyond=score.rank_beyond,
            )
        )
    return tuple(tokens)


def read_candidates(
    backend: Backend, trace: Trace, top_n: int
) -> tuple[Ranking, tuple[Candidate, ...]]:
    ranking = rank_candidates(trace, top_n)
    candidates = []
    for row in ranking.rows:
        token = backend.token(row.token_id)
        candidates.append(Candidate(row, token.raw, token.special))
    return ranking, tuple(candidates)
