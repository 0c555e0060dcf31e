"""The ranked next-token table of a trace: what is shown, and the mass of what is not."""

import math
from dataclasses import dataclass

import numpy as np

from explorer.decoding.chain import Trace
from explorer.decoding.step import step_name


@dataclass(frozen=True, slots=True)
class RankedToken:
    """One candidate: raw is before the chain, at temperature 1; final is after it."""

    rank: int  # in the raw distribution; 1 is the most probable
    token_id: int
    logit: float
    raw_probability: float
    probability: float  # final; 0 where cut
    cut_by: str | None
    bounds: tuple[float, float] | None = None  # of the final, where not all of them are exact


@dataclass(frozen=True, slots=True)
class Ranking:
    """The first rows by final, then raw probability, and the rest as one."""

    rows: tuple[RankedToken, ...]
    kept: int  # candidates that survived the chain
    kept_raw_probability: float  # raw mass of those
    other_count: int
    other_raw_probability: float
    other_probability: float
    other_bounds: tuple[float, float] | None = None


def rank_candidates(trace: Trace, count: int) -> Ranking:
    """The `count` most probable candidates; those that were cut come after all survivors.

    >>> from explorer.decoding.truncation import TopK
    >>> from explorer.decoding.chain import decode
    >>> ranking = rank_candidates(decode(np.log([0.5, 0.2, 0.3]), [TopK(2)]), 3)
    >>> [(row.token_id, round(row.probability, 3), row.cut_by) for row in ranking.rows]
    [(0, 0.625, None), (2, 0.375, None), (1, 0.0, 'top_k')]
    """
    distribution, final = trace.distribution, trace.final
    shown_final = final.head(count).token_ids[:count]
    # Among the first len(final) + count tokens at least `count` were cut, if so many were.
    reach = len(final) + count if count > len(final) else 0
    head = distribution.head(reach).token_ids[:reach]
    places_cut = np.flatnonzero(trace.stages_cutting(head) >= 0)[: count - len(shown_final)]
    shown_cut = head[places_cut]
    token_ids = np.concatenate((shown_final, shown_cut))
    places_final = (
        np.arange(final.offset, final.offset + len(shown_final))
        if final.offset is not None  # in a row in the raw order: nothing to look up
        else distribution.candidates.places_of(shown_final)
    )
    places = np.concatenate((places_final, places_cut))
    shown = distribution.head(int(places.max()) + 1)
    cut = trace.stages_cutting(token_ids).tolist()
    raw = shown.probabilities[places]
    probabilities = np.concatenate(
        (final.head(count).probabilities[: len(shown_final)], np.zeros(len(shown_cut)))
    )
    bounds: list[tuple[float, float] | None] = [None] * len(token_ids)
    if not trace.certainty.exact:
        lowest, highest = trace.certainty.lowest, trace.certainty.highest
        assert lowest is not None and highest is not None
        bounds = list(zip(lowest[places].tolist(), highest[places].tolist(), strict=True))
        probabilities = np.clip(probabilities, lowest[places], highest[places])
    names = [step_name(stage.step) for stage in trace.stages]  # once, not for each row
    rows = tuple(
        RankedToken(
            rank,
            token_id,
            logit,
            raw_probability,
            probability,
            None if stage < 0 else names[stage],
            between,
        )
        for rank, token_id, logit, raw_probability, probability, stage, between in zip(
            (places + 1).tolist(),
            token_ids.tolist(),
            shown.logits[places].tolist(),
            raw.tolist(),
            probabilities.tolist(),
            cut,
            bounds,
            strict=True,
        )
    )
    return Ranking(
        rows=rows,
        kept=len(final),
        kept_raw_probability=_kept_mass(trace),
        other_count=distribution.size - len(rows),
        other_raw_probability=max(0.0, 1.0 - float(raw.sum())),
        other_probability=max(0.0, 1.0 - float(probabilities.sum())),
        other_bounds=_other_bounds([row.bounds for row in rows if row.bounds is not None]),
    )


def _other_bounds(rows: list[tuple[float, float]]) -> tuple[float, float] | None:
    if not rows:
        return None
    low, high = (math.fsum(ends) for ends in zip(*rows, strict=True))
    return max(0.0, 1.0 - high), max(0.0, 1.0 - low)


def _kept_mass(trace: Trace) -> float:
    distribution, final = trace.distribution, trace.final
    if len(final) == len(distribution):
        return distribution.coverage
    if final.offset is not None:  # in a row in the raw order: nothing to look up
        stop = final.offset + len(final)
        return float(distribution.head(stop).probabilities[final.offset : stop].sum())
    return float(distribution.candidates.probabilities_of(final.token_ids).sum())
