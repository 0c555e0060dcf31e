"""The least that must change for a token to survive, or to be the only one."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer.decoding.candidates import Candidates
from explorer.decoding.chain import Stage, Trace, decode
from explorer.decoding.measure import CuttingStep, is_count, rounded_past
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
    certain: bool = True  # False: tokens that were not sent may decide otherwise


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
    exact = True
    while True:
        numbers = [number for number, step in enumerate(steps) if step is not None]
        now = decode(trace.distribution, [s for s in steps if s is not None], context)
        at = int(now.stages_cutting(np.array([token_id]))[0])
        if at < 0:
            chain = tuple(step for step in steps if step is not None)
            changes = tuple(changed[number] for number in sorted(changed))
            return Alternative(changes, chain, exact and _stays(now, token_id))
        number, stage = numbers[at], now.stages[at]
        exact = exact and stage.exact
        original = trace.stages[number].step
        # Loosened once and still too tight only by rounding: then off.
        looser = None if number in changed else _loosened(stage, token_id)
        steps[number] = looser
        changed[number] = _change(number, original, looser)


def to_be_alone(
    trace: Trace, token_id: int, context: Sequence[int] = ()
) -> tuple[Alternative, ...]:
    """For each step, the change of it alone after which only this token is left.

    A step is tightened until it cuts the other survivors itself; what a later step would then
    do with those it newly lets through is not searched. There may be none.
    """
    steps = tuple(stage.step for stage in trace.stages)
    found = []
    for number, stage in enumerate(trace.stages):
        tighter = _tightened(trace, stage, token_id)
        if tighter is None:
            continue
        chain = (*steps[:number], tighter, *steps[number + 1 :])
        change = (_change(number, stage.step, tighter),)
        then = decode(trace.distribution, chain, context)
        if _alone(then, token_id):
            found.append(Alternative(change, chain, stage.exact and _for_sure(then)))
    if len(trace.final) > 1 and _best(trace) == token_id:
        if not any(isinstance(step, TopK) for step in steps):
            chain = (*steps, TopK(1))
            added = Change(len(steps), "top_k", "k", None, 1)
            then = decode(trace.distribution, chain, context)
            found.append(Alternative((added,), chain, _for_sure(then)))
    return tuple(found)


def _alone(then: Trace, token_id: int) -> bool:
    return len(then.final) == 1 and _best(then) == token_id


def _best(trace: Trace) -> int:
    return int(trace.final.head(1).token_ids[0])


def _stays(now: Trace, token_id: int) -> bool:
    """Whether the token is left, whatever was not sent."""
    place = now.distribution.positions[token_id]
    lowest = now.certainty.lowest
    return lowest is None or bool(lowest[place] > 0)


def _for_sure(then: Trace) -> bool:
    """Whether the one token that is left is all that is left, whatever was not sent."""
    return bool(then.at_least[0] == 1)


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
    edge = float(step.critical(stage.before, np.array([place]))[0])
    return _beyond(
        stage,
        int(edge) if is_count(step) and math.isfinite(edge) else edge,
        upwards=step.widens,
        done=lambda kept: kept.place_of(token_id) is not None,
    )


def _tightened(trace: Trace, stage: Stage, token_id: int) -> Step | None:
    """The step with the parameter nearest to the present one that cuts all other survivors."""
    step = stage.step
    others = trace.final.token_ids[trace.final.token_ids != token_id]
    if not isinstance(step, CuttingStep) or len(others) == 0:
        return None
    critical = step.critical(stage.before, trace.places(stage.before, others))
    edge = float(critical.min() if step.widens else critical.max())
    if math.isinf(edge):  # cut at every setting that acts
        edge = float(getattr(step, step.parameter))
    return _beyond(
        stage,
        int(edge) - 1 if is_count(step) else edge,
        upwards=not step.widens,
        done=lambda kept: not bool(np.isin(others, kept.token_ids).any()),
    )


def _beyond(
    stage: Stage, edge: float, *, upwards: bool, done: Callable[[Candidates], bool]
) -> Step | None:
    """The step with its parameter just past the edge, in as few digits as change nothing more."""
    step = stage.step
    assert isinstance(step, CuttingStep)
    if not math.isfinite(edge):
        return None
    if is_count(step):
        return _with(step, edge) if edge >= 1 else None  # 0 would be off
    nearest = next(
        (
            value
            for value in _past(edge, upwards=upwards)
            if (one := _with(step, value)) is not None and done(one(stage.before, ()))
        ),
        None,
    )
    if nearest is None:
        return None
    exact = _with(step, nearest)
    assert exact is not None
    wanted = len(exact(stage.before, ()))
    for digits in DIGITS:
        short = _with(step, rounded_past(nearest, digits, upwards=upwards))
        assert short is not None, "every range ends in a number of few digits"
        kept = short(stage.before, ())
        if len(kept) == wanted and done(kept):
            return short
    return exact


def _past(edge: float, *, upwards: bool) -> Iterator[float]:
    """The edge, and values ever further past it: a rule may round otherwise than its measure."""
    yield edge
    yield float(np.nextafter(edge, math.inf if upwards else -math.inf))
    for exponent in range(-15, -8):
        yield edge + (abs(edge) if upwards else -abs(edge)) * 10.0**exponent


def _with(step: CuttingStep, value: float) -> Step | None:
    try:
        changed: Any = replace(step, **{step.parameter: value})
    except ParameterError:  # past the end of the parameter's range
        return None
    made: Step = changed
    return made
