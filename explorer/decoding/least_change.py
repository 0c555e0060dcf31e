"""The least that must change for a token to survive, or to be the only one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer.decoding.chain import Stage, Trace, decode
from explorer.decoding.measure import CuttingStep
from explorer.decoding.parameters import ParameterError
from explorer.decoding.step import Chain, Step, step_name
from explorer.decoding.truncation import TopK

DIGITS = (2, 3, 4, 6, 9, 12)  # significant ones, the shortest that does it is taken


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the chain with another parameter; switched off or added when one is `None`."""

    number: int  # in the chain; its length for an added step
    step: str
    parameter: str | None
    old: float | None
    new: float | None  # None: the step is switched off


@dataclass(frozen=True, slots=True)
class Alternative:
    """A set of changes that does it, and the chain with them."""

    changes: tuple[Change, ...]
    chain: Chain


def to_survive(trace: Trace, token_id: int, context: Sequence[int] = ()) -> Alternative:
    """Each step that cuts the token, in turn, loosened just enough; proven by decoding.

    A rule without a number to move, such as a ban, is switched off.

    >>> from explorer.decoding import TopP
    >>> trace = decode(np.log([0.5, 0.3, 0.15, 0.05]), [TopK(2), TopP(0.8)])
    >>> [(c.step, c.new) for c in to_survive(trace, 2).changes]  # 0.8421 stands before it
    [('top_k', 3), ('top_p', 0.85)]
    """
    steps: list[Step | None] = [stage.step for stage in trace.stages]
    changed: dict[int, Change] = {}
    while True:
        numbers = [number for number, step in enumerate(steps) if step is not None]
        now = decode(trace.distribution, [s for s in steps if s is not None], context)
        at = int(now.stages_cutting(np.array([token_id]))[0])
        if at < 0:
            chain = tuple(step for step in steps if step is not None)
            return Alternative(tuple(changed[number] for number in sorted(changed)), chain)
        number, stage = numbers[at], now.stages[at]
        original = trace.stages[number].step
        # Loosened once and still too tight only by rounding: then off.
        looser = None if number in changed else _loosened(stage, token_id)
        steps[number] = looser
        changed[number] = _change(number, original, looser)


def to_be_alone(
    trace: Trace, token_id: int, context: Sequence[int] = ()
) -> tuple[Alternative, ...]:
    """Every single change of one step after which only this token is left; there may be none."""
    steps = tuple(stage.step for stage in trace.stages)
    found = []
    for number, stage in enumerate(trace.stages):
        tighter = _tightened(trace, stage, token_id)
        if tighter is None:
            continue
        chain = (*steps[:number], tighter, *steps[number + 1 :])
        if _only(trace, chain, token_id, context):
            found.append(Alternative((_change(number, stage.step, tighter),), chain))
    if len(trace.final) > 1 and int(trace.final.token_ids[0]) == token_id:
        if not any(isinstance(step, TopK) for step in steps):
            added = Change(len(steps), "top_k", "k", None, 1)
            found.append(Alternative((added,), (*steps, TopK(1))))
    return tuple(found)


def _only(trace: Trace, chain: Chain, token_id: int, context: Sequence[int]) -> bool:
    final = decode(trace.distribution, chain, context).final
    return len(final) == 1 and int(final.token_ids[0]) == token_id


def _change(number: int, old: Step, new: Step | None) -> Change:
    if not isinstance(old, CuttingStep):
        return Change(number, step_name(old), None, None, None)
    value = None if new is None else getattr(new, old.parameter)
    return Change(number, step_name(old), old.parameter, getattr(old, old.parameter), value)


def _loosened(stage: Stage, token_id: int) -> Step | None:
    """The step with the parameter nearest to the present one that keeps the token."""
    step, place = stage.step, stage.before.place_of(token_id)
    if not isinstance(step, CuttingStep) or place is None:
        return None
    critical = float(step.critical(stage.before, np.array([place]))[0])
    return _beyond(stage, critical, upwards=step.widens, keeps=token_id)


def _tightened(trace: Trace, stage: Stage, token_id: int) -> Step | None:
    """The step with the parameter nearest to the present one that cuts all other survivors."""
    step = stage.step
    others = trace.final.token_ids[trace.final.token_ids != token_id]
    if not isinstance(step, CuttingStep) or len(others) == 0:
        return None
    critical = step.critical(stage.before, trace.places(stage.before, others))
    edge = float(critical.min() if step.widens else critical.max())
    return _beyond(stage, edge, upwards=not step.widens, keeps=None)


def _beyond(stage: Stage, edge: float, *, upwards: bool, keeps: int | None) -> Step | None:
    """The step with its parameter just past the edge, in as few digits as change nothing more."""
    step = stage.step
    assert isinstance(step, CuttingStep)
    if not math.isfinite(edge):
        return None
    if isinstance(getattr(step, step.parameter), int):  # a count: past it is the next one, or it
        return _with(step, int(edge) if keeps is not None else int(edge) - 1, at_least=1)
    nearest = None
    for past in (edge, float(np.nextafter(edge, math.inf if upwards else -math.inf))):
        nearest = _with(step, past)
        if nearest is not None and _does(nearest, stage, edge, keeps):
            break
    if nearest is None:
        return None
    wanted = len(nearest(stage.before, ()))
    for digits in DIGITS:
        short = _with(step, _rounded(edge, digits, upwards=upwards))
        if short is not None and len(short(stage.before, ())) == wanted:
            if _does(short, stage, edge, keeps):
                return short
    return nearest


def _does(step: Step, stage: Stage, edge: float, keeps: int | None) -> bool:
    """Whether the step keeps the token, or, when none is named, cuts what stood on the edge."""
    kept = step(stage.before, ())
    if keeps is not None:
        return kept.place_of(keeps) is not None
    assert isinstance(step, CuttingStep)
    places = stage.before.positions[kept.token_ids].astype(np.int64)
    return not bool(np.any(step.critical(stage.before, places) == edge)) or len(kept) == 1


def _with(step: CuttingStep, value: float, at_least: float = -math.inf) -> Step | None:
    if value < at_least:
        return None
    try:
        changed: Any = replace(step, **{step.parameter: value})
    except ParameterError:  # past the end of the parameter's range
        return None
    made: Step = changed
    return made


def _rounded(value: float, digits: int, *, upwards: bool) -> float:
    """To so many significant digits, away from the edge.

    >>> _rounded(0.03127, 2, upwards=True), _rounded(0.03127, 2, upwards=False)
    (0.032, 0.031)
    """
    if value == 0:
        return 0.0
    scale = digits - 1 - math.floor(math.log10(abs(value)))
    turned = math.ceil if upwards else math.floor
    return float(f"{turned(value * 10**scale) / 10**scale:.{digits}g}")
