"""Where a slider changes who stays."""

from dataclasses import dataclass, replace

import numpy as np

from explorer.decoding.chain import Stage
from explorer.decoding.measure import CuttingStep, is_count, rounded_past
from explorer.decoding.parameters import ParameterError
from explorer.decoding.typicality import Typical
from explorer.decoding.xtc import Xtc

CAN_CUT_THE_BEST = (Typical, Xtc)


@dataclass(frozen=True, slots=True)
class Tick:
    """A value of the step's parameter at which one token comes or goes."""

    value: float
    token_id: int
    kept: bool  # at the present value
    past: float  # a value just past it, in few digits, at which the token has gone or come


def ticks(stage: Stage, each_way: int = 3) -> tuple[Tick, ...]:
    """The changes nearest to the parameter's present value, by value; none for other rules.

    >>> from explorer.decoding import MinP, decode
    >>> stage = decode(np.log([0.5, 0.3, 0.2]), [MinP(0.5)]).stages[0]
    >>> [(round(tick.value, 2), tick.token_id, tick.kept) for tick in ticks(stage)]
    [(0.4, 2, False), (0.6, 1, True)]
    """
    step, before = stage.step, stage.before
    if not isinstance(step, CuttingStep):
        return ()
    edges = np.array([0, len(stage.kept) - 1])  # they are what moves
    kept = before.places_of(stage.kept.head(len(stage.kept)).token_ids[edges])
    first = 0 if isinstance(step, CAN_CUT_THE_BEST) else 1
    near = np.unique(np.add.outer(kept, np.arange(-each_way, each_way + 1)))
    places = near[(near >= first) & (near < len(before))].astype(np.int64)
    near_ids = before.head(int(places.max(initial=0)) + 1).token_ids[places]
    values = step.critical(before, places)
    current = float(getattr(step, step.parameter))
    found = [
        Tick(value, token_id, stays, past)
        for value, token_id, stays in zip(
            values.tolist(),
            near_ids.tolist(),
            (stage.kept.places_of(near_ids) >= 0).tolist(),
            strict=True,
        )
        if np.isfinite(value) and value > 0 and (past := _past(step, value, stays)) is not None
    ]
    going = sorted((tick for tick in found if tick.kept), key=lambda t: abs(t.value - current))
    coming = sorted((tick for tick in found if not tick.kept), key=lambda t: abs(t.value - current))
    return tuple(sorted(going[:each_way] + coming[:each_way], key=lambda tick: tick.value))


def _past(step: CuttingStep, value: float, kept: bool) -> float | None:
    """On the other side of the line for this token; `None` beyond the parameter's range."""
    past = _beyond(step, value, kept)
    try:
        replace(step, **{step.parameter: past})
    except ParameterError:
        return None
    return past


def _beyond(step: CuttingStep, value: float, kept: bool) -> float:
    if is_count(step):
        return int(value) - 1 if kept else int(value)
    upwards = step.widens != kept
    past = rounded_past(value, 4, upwards=upwards)
    if past == value:
        past = rounded_past(value * (1 + 1e-9 if upwards else 1 - 1e-9), 5, upwards=upwards)
    if past == value:  # so small that a float has no digits left
        past = float(np.nextafter(value, np.inf if upwards else 0.0))
    return past
