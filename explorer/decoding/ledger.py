"""What every step did to every candidate, and by how much a cut one missed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.decoding.chain import Stage, Trace
from explorer.decoding.measure import Keeps, Measured, MeasuringStep, Quantity, shares_at

CURVE_POINTS = 48


@dataclass(frozen=True, slots=True)
class Miss:
    """By how much a token missed: what the step needed, and what the token had."""

    quantity: Quantity
    keeps: Keeps
    needed: float
    had: float


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One candidate through the chain."""

    token_id: int
    probabilities: tuple[float, ...]  # raw, then after each stage; 0 from the cut on
    cut_at: int | None  # index of the stage that cut it
    miss: Miss | None  # None for survivors, and for rules that forbid without a number


def ledger(trace: Trace, tokens: ArrayLike) -> tuple[LedgerRow, ...]:
    """One row for each of these token ids, all of which the distribution holds.

    >>> from explorer.decoding import MinP, TopK, decode
    >>> trace = decode(np.log([0.5, 0.3, 0.2]), [TopK(2), MinP(0.9)])
    >>> row = ledger(trace, [1])[0]
    >>> [round(p, 3) for p in row.probabilities], row.cut_at
    ([0.3, 0.375, 0.0], 1)
    >>> f"{row.miss.quantity}: needed {row.miss.needed:.4f}, had {row.miss.had:.3f}"
    'probability: needed 0.5625, had 0.375'
    """
    distribution = trace.distribution
    token_ids = np.asarray(tokens, dtype=np.int64)
    raw = distribution.candidates
    columns = [shares_at(raw, raw.places_of(token_ids))]
    for stage in trace.stages:
        places = trace.places(stage.kept, token_ids)
        columns.append(np.where(places >= 0, shares_at(stage.kept, places), 0.0))
    cut = trace.stages_cutting(token_ids)
    misses = _misses(trace, token_ids, cut)
    return tuple(
        LedgerRow(token_id, tuple(row), None if stage < 0 else stage, misses.get(number))
        for number, (token_id, row, stage) in enumerate(
            zip(token_ids.tolist(), np.array(columns).T.tolist(), cut.tolist(), strict=True)
        )
    )


def _misses(trace: Trace, token_ids: NDArray[np.int64], cut: NDArray[np.int64]) -> dict[int, Miss]:
    """By row number."""
    misses: dict[int, Miss] = {}
    for number, stage in enumerate(trace.stages):
        rows = np.flatnonzero(cut == number)
        if len(rows) == 0 or not isinstance(stage.step, MeasuringStep):
            continue
        measured = stage.step.measured(stage.before, trace.places(stage.before, token_ids[rows]))
        for row, had in zip(rows.tolist(), measured.values.tolist(), strict=True):
            misses[row] = Miss(measured.quantity, measured.keeps, measured.line, had)
    return misses


def curve(stage: Stage) -> tuple[NDArray[np.int64], Measured] | None:
    """What the step compares, by rank around its cut: the ranks, from 1, and the numbers.

    Every rank while the cut is near the top, fewer and fewer of them when it is far down.
    `None` for a rule that compares no number.
    """
    if not isinstance(stage.step, MeasuringStep):
        return None
    count = len(stage.before)
    until = min(count, max(16, 2 * len(stage.kept)))
    places = np.unique(np.geomspace(1, until, CURVE_POINTS).astype(np.int64)) - 1
    if until <= CURVE_POINTS:
        places = np.arange(until)
    return places + 1, stage.step.measured(stage.before, places)
