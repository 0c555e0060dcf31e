"""What the decoding lab shows: stages with their ticks, the ledger, the dice, Mirostat's dials."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from explorer.decoding import (
    Alternative,
    BannedSequences,
    Chain,
    Constraint,
    CuttingStep,
    Dry,
    LogitBias,
    Miss,
    Observation,
    Rolls,
    Stage,
    StatefulStep,
    Trace,
    Xtc,
    chain_to_json,
    curve,
    ledger,
    place_drawn,
    segments,
    step_name,
    ticks,
    uniform,
)
from explorer.session import Candidate, Session
from explorer.views.table import finite

STRIP_SEGMENTS = 60
DIAL_STEPS = 200  # the last tokens of a long path

TextOf = Callable[[int], str]  # a token's printable text, by its id


def stages(trace: Trace, session: Session, text_of: TextOf) -> list[dict[str, Any]]:
    """One entry for each step of the chain: how many it left, and where its slider matters."""
    shown = []
    for number, stage in enumerate(trace.stages):
        step = stage.step
        entry: dict[str, Any] = {
            "step": step_name(step),
            "kept": len(stage.kept),
            "cut": len(stage.before) - len(stage.kept),
            "parameter": step.parameter if isinstance(step, CuttingStep) else None,
            "ticks": [
                {
                    "value": tick.value,
                    "token_id": tick.token_id,
                    "text": text_of(tick.token_id),
                    "kept": tick.kept,
                    "past": tick.past,
                }
                for tick in ticks(stage)
            ],
            **({} if stage.exact else {"estimate": True}),
        }
        if isinstance(step, Xtc):
            position = len(session.prefix)
            entry["coin"] = uniform(session.seed, position, stream=number + 1)
            entry["fires"] = entry["coin"] < step.probability
        if isinstance(step, Constraint) and step.grammar is not None:
            entry["fit"] = step.grammar.fit(session.prefix)
        shown.append(entry)
    return shown


def ledger_data(trace: Trace, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """A row for each candidate of the table, in its order, and a curve for each stage."""
    token_ids = [candidate.ranked.token_id for candidate in candidates]
    certain = [stage.known is None or stage.known.certain for stage in trace.stages]
    return {
        "rows": [
            {
                "probabilities": list(row.probabilities),
                "cut_at": row.cut_at,
                "miss": None
                if row.miss is None or row.cut_at is None
                else _miss(row.miss, exact=trace.stages[row.cut_at].exact),
            }
            for row in ledger(trace, token_ids)
        ],
        "curves": [_curve(stage) for stage in trace.stages],
        **({} if all(certain) else {"certain": certain}),
    }


def _miss(miss: Miss, *, exact: bool) -> dict[str, Any]:
    return {
        "quantity": miss.quantity,
        "keeps": miss.keeps,
        "needed": finite(miss.needed),
        "had": finite(miss.had),
        **({} if exact else {"estimate": True}),
    }


def _curve(stage: Stage) -> dict[str, Any] | None:
    found = curve(stage)
    if found is None:
        return None
    ranks, measured = found
    return {
        "ranks": ranks.tolist(),
        "values": [finite(value) for value in measured.values.tolist()],
        "line": finite(measured.line),
        "quantity": measured.quantity,
        "keeps": measured.keeps,
        "kept": len(stage.kept),
        **({} if stage.exact else {"estimate": True}),
    }


def dice(trace: Trace, u: float, text_of: TextOf) -> dict[str, Any]:
    """The strip of a draw, and the token that u falls on."""
    strip = [
        {
            "token_id": segment.token_id,
            "text": text_of(segment.token_id),
            "low": segment.low,
            "high": segment.high,
        }
        for segment in segments(trace, STRIP_SEGMENTS)
    ]
    return {
        "u": u,
        "segments": strip,
        "others": len(trace.final) - len(strip),
        **({"unsent": list(trace.certainty.unsent)} if trace.certainty.unsent[1] else {}),
        **fallen(trace, u, text_of),
    }


def fallen(trace: Trace, u: float, text_of: TextOf) -> dict[str, Any]:
    """The token that u falls on, and its place among the survivors, from 1.

    Its probability is its share of the strip: of what was sent, where a server sent not all.
    """
    place = place_drawn(trace, u)
    survivors = trace.final.head(place + 1)
    token_id = int(survivors.token_ids[place])
    shares = survivors.probabilities  # of all that were sent, where that is not all
    return {
        "token_id": token_id,
        "text": text_of(token_id),
        "probability": float(shares[place] / (shares.sum() if trace.final.rest > -math.inf else 1)),
        "place": place + 1,
    }


def rolls_data(trace: Trace, rolls: Rolls, text_of: TextOf, rows: int = 12) -> dict[str, Any]:
    """Observed against expected for the first survivors, the others as one."""
    shown = min(rows, len(rolls.observed))
    entries = [
        {
            "text": text_of(token_id),
            "observed": seen,
            "expected": hoped,
        }
        for token_id, seen, hoped in zip(
            trace.final.token_ids[:shown].tolist(),
            rolls.observed[:shown].tolist(),
            rolls.expected[:shown].tolist(),
            strict=True,
        )
    ]
    others = len(rolls.observed) - shown
    test = rolls.test
    return {
        "count": rolls.count,
        "rows": entries,
        "others": {
            "count": others,
            "observed": int(rolls.observed[shown:].sum()),
            "expected": float(rolls.expected[shown:].sum()),
        }
        if others
        else None,
        "chi_square": None
        if test is None
        else {
            "statistic": test.statistic,
            "degrees_of_freedom": test.degrees_of_freedom,
            "p_value": test.p_value,
        },
    }


def dials(session: Session, trace: Trace, text_of: TextOf) -> dict[str, Any] | None:
    """Mirostat's cockpit: where mu stands, and what each token of the path did to it."""
    now = next((stage for stage in trace.stages if isinstance(stage.step, StatefulStep)), None)
    if now is None:
        return None
    best = int(now.kept.head(1).token_ids[0])
    assert isinstance(now.step, StatefulStep)
    present = now.step.observed(now, best)
    past = []
    start = len(session.now.tree.prompt)
    for depth, node in enumerate(session.now.tree.path):
        if node.choice is not None and node.choice.observed:
            entry = _observation(node.choice.observed[0])
            entry["position"] = start + depth
            entry["text"] = text_of(node.token_id)
            past.append(entry)
    return {
        "step": step_name(type(now.step)),
        "tau": present.tau,
        "mu": present.mu,
        "kept": len(now.kept),
        "of": len(now.before),
        "cut": present.cut,
        "entropy": now.kept.entropy / math.log(2),  # the expected surprise of the next token
        "past": past[-DIAL_STEPS:],
        # The past was weighed by the same rules on what the same server sent.
        **({} if now.exact else {"estimate": True}),
    }


def _observation(observation: Observation) -> dict[str, Any]:
    return {
        "tau": observation.tau,
        "mu": observation.mu,
        "surprise": observation.surprise,
        "error": observation.error,
        "kept": observation.kept,
        "cut": observation.cut,
        "next_mu": observation.next_mu,
    }


def alternative(found: Alternative) -> dict[str, Any]:
    return {
        "changes": [
            {
                "number": change.number,
                "step": change.step,
                "parameter": change.parameter,
                "old": change.old,
                "new": change.new,
            }
            for change in found.changes
        ],
        "chain": chain_to_json(found.chain),
        **({} if found.certain else {"estimate": True}),
    }


def tokens_in(chain: Chain, vocab_size: int, text_of: TextOf) -> dict[str, str]:
    """The texts of the token ids that a chain names, for the editor."""
    named: set[int] = set()
    for step in chain:
        if isinstance(step, LogitBias):
            named |= {token_id for token_id, _ in step.bias}
        elif isinstance(step, BannedSequences):
            named |= {token_id for sequence in step.sequences for token_id in sequence}
        elif isinstance(step, Dry):
            named |= set(step.breakers)
    return {str(one): text_of(one) for one in sorted(named) if one < vocab_size}
