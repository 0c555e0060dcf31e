"""What each rule leaves certain when only a part of the distribution is known.

A cut is certain where its line lies among the tokens that were sent; a temperature leaves the
known tokens' odds exact and the others' share between bounds; a rule that needs the entropy or
the spread of the whole vocabulary is followed as far as its bounds allow.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.bans import BannedSequences, NoRepeatNgram
from explorer.decoding.candidates import Candidates
from explorer.decoding.constraint import Constraint
from explorer.decoding.knowledge import Floats, Knowledge
from explorer.decoding.mirostat import MirostatV1, MirostatV2
from explorer.decoding.penalties import (
    Dry,
    FrequencyPresencePenalty,
    LogitBias,
    RepetitionPenalty,
)
from explorer.decoding.step import Step
from explorer.decoding.tail import NO_TAIL, ROUNDING
from explorer.decoding.temperature import (
    DynamicTemperature,
    QuadraticSmoothing,
    Temperature,
)
from explorer.decoding.thresholds import EpsilonCutoff, EtaCutoff, PLess, TopA, TopNSigma
from explorer.decoding.truncation import Greedy, MinP, TopK, TopP
from explorer.decoding.typicality import TOP_H_LOOKS_AT, TailFree, TopH, Typical
from explorer.decoding.xtc import LEAST, Xtc

SLACK = 4 * ROUNDING  # a probability so near to a line may stand on either side
FAR = 1e200  # a logit that a temperature divides to beyond this


def follow(
    known: Knowledge, step: Step, context: Sequence[int], before: Candidates, kept: Candidates
) -> tuple[Knowledge, Candidates]:
    """What is certain after a step, and what it left beside the rest, of one possible weight.

    `kept` is what the step made of `before`, the tokens that were sent. Where it guessed at the
    others and cut a token that certainly stays, that one is put back.
    """
    if known.settled:
        return known.only(kept), kept
    now = after(known, step, context, kept)
    lost = np.setdiff1d(now.token_ids[now.must], kept.token_ids)
    if len(lost) and np.isin(lost, before.token_ids).any():
        stays = np.concatenate((kept.token_ids, lost))
        kept = before.where(np.isin(before.token_ids, stays))
    best = now.low[now.token_ids == kept.token_ids[0]]
    rest = float(now.tail.point - best[0]) if len(best) and np.isfinite(best[0]) else -math.inf
    return now, kept.with_rest(min(rest, 700.0))


def after(known: Knowledge, step: Step, context: Sequence[int], kept: Candidates) -> Knowledge:
    """What is certain after a step, if not all was settled before it."""
    match step:
        case Greedy():
            return first(known, 1)
        case TopK():
            return first(known, step.k) if step.k else known
        case TopP():
            return nucleus(known, step.p)
        case MinP():
            if step.min_p == 0:
                return known
            drop = math.log(step.min_p)
            return cut_below_logit(known, known.best[0] + drop, known.best[1] + drop)
        case EpsilonCutoff():
            return cut_below(known, step.epsilon, step.epsilon)
        case EtaCutoff():
            low, high = known.entropy()
            return cut_below(known, _eta(step.epsilon, high), _eta(step.epsilon, low))
        case TopA():
            low, high = _best_probability(known)
            return cut_below(known, step.a * low * low, step.a * high * high)
        case PLess():
            return cut_below(known, *_sum_of_squares(known))
        case MirostatV2():
            line = 2.0 if step.current_mu < 0 else 2.0**-step.current_mu
            return cut_below(known, line, line)
        case MirostatV1() if known.vocab_size is None:  # which its k is made of
            return known.any_cut(best_stays=True)
        case MirostatV1():
            return first_by_head(known, step.m, len(kept))
        case TopH():
            return first_by_head(known, TOP_H_LOOKS_AT, len(kept))
        case Xtc():
            return exclude_top(known, step)
        case Temperature():
            return tempered(known, step.temperature, step.temperature)
        case DynamicTemperature():
            return tempered(known, *_temperatures(known, step))
        case QuadraticSmoothing():
            return smoothed(known, step) if step.factor else known
        case LogitBias() | RepetitionPenalty() | FrequencyPresencePenalty() | Dry():
            return penalised(known, step, context)
        case BannedSequences() | NoRepeatNgram():
            return without(known, step.banned(context))
        case Constraint():
            return fitting(known, step, context)
        case TopNSigma():
            return known.any_cut(best_stays=True) if step.n else known
        case TailFree():
            return known.any_cut(best_stays=True) if step.z < 1 else known
        case Typical():
            return known.any_cut(best_stays=False) if step.mass < 1 else known
        case _:
            return known.any_cut(best_stays=False).any_shape()


def first(known: Knowledge, count: int) -> Knowledge:
    """After a cut by rank."""
    certain, possible = known.ahead()
    tail = known.tail
    if known.ahead_of_tail()[0] >= count:
        tail = NO_TAIL
    elif len(known.low) + tail.count > count:
        tail = tail.some()
    return known.kept(known.must & (possible < count), certain < count, tail)


def first_by_head(known: Knowledge, head: int, count: int) -> Knowledge:
    """After a cut by a rank that the first `head` tokens decide: certain if all of them are."""
    sure = known.sharp and known.ahead_of_tail()[0] >= head
    return (
        first(known, count) if sure and count < len(known.low) else known.any_cut(best_stays=True)
    )


def nucleus(known: Knowledge, p: float) -> Knowledge:
    """After a cut by the mass before each token."""
    if p >= 1:
        return known
    if p == 0:
        return first(known, 1)
    least, most = known.mass_ahead()
    beyond = known.ahead_of_tail()[1] * (1 - SLACK) >= p
    return known.kept(
        known.must & (most * (1 + SLACK) < p) | known.leader,
        (least * (1 - SLACK) < p) | known.leader,
        NO_TAIL if beyond else known.tail.some(),
    )


def cut_below_logit(known: Knowledge, low: float, high: float) -> Knowledge:
    """After a cut at a logit between these; the best stays."""
    return known.kept(
        known.must & (known.low >= high) | known.leader,
        (known.high >= low) | known.leader,
        NO_TAIL if known.tail.top < low else known.tail.some(),
    )


def cut_below(known: Knowledge, low: float, high: float) -> Knowledge:
    """After a cut at a probability between these; the best stays."""
    if high <= 0:
        return known
    least, most = known.probabilities
    low, high = low * (1 - SLACK), high * (1 + SLACK)
    return known.kept(
        known.must & (least >= high) | known.leader,
        (most >= low) | known.leader,
        NO_TAIL if known.tail_probability < low else known.tail.some(),
    )


def _eta(epsilon: float, entropy: float) -> float:
    return min(epsilon, math.sqrt(epsilon) * math.exp(-entropy))


def _best_probability(known: Knowledge) -> tuple[float, float]:
    least, most = known.probabilities
    low = float(least[known.must].max(initial=0.0))
    return low, max(float(most.max(initial=0.0)), known.tail_probability)


def _sum_of_squares(known: Knowledge) -> tuple[float, float]:
    least, most = known.probabilities
    low = float(np.square(least[known.must]).sum())
    tail = known.share_of_tail()[1] * known.tail_probability
    # The sum of p * p is never more than that of p times the greatest p.
    return low, min(float(np.square(most).sum()) + tail, _best_probability(known)[1])


def exclude_top(known: Knowledge, step: Xtc) -> Knowledge:
    """After XTC: certain where every token's side of the threshold is."""
    if step.probability == 0 or step.threshold > 0.5:
        return known
    least, most = known.probabilities
    line = max(step.threshold, LEAST)
    reach = int((least >= line * (1 + SLACK)).sum())
    unclear = len(known.low) - reach - int((most < line * (1 - SLACK)).sum())
    if unclear or not known.sharp or known.tail_probability >= line * (1 - SLACK):
        return known.any_cut(best_stays=False)
    return known.kept(known.must, np.arange(len(known.low)) >= reach - 1, known.tail)


def tempered(known: Knowledge, low: float, high: float) -> Knowledge:
    """After a temperature between these."""
    if low == high == 1:
        return known
    if high == 0:
        return first(known, 1)
    logits = np.concatenate((known.low, known.high, [known.tail.top]))
    near = bool(np.abs(logits[np.isfinite(logits)]).max(initial=0.0) < FAR * low)
    if low == high and near:
        return replace(
            known, low=known.low / low, high=known.high / low, tail=known.tail.tempered(low)
        )
    lead = known.low[known.leader & (known.low == known.high)]
    if low == 0 or len(lead) == 0:
        return known.any_cut(best_stays=True).any_shape()
    # Against the best, every logit is at most 0, and a higher temperature raises it.
    best, tail = float(lead[0]), known.tail
    if not tail.gone:
        down = replace(tail, top=tail.top - best, low=tail.low - best, high=tail.high - best)
        cold, hot = down.tempered(low), down.tempered(high)
        tail = replace(hot, low=min(cold.low, hot.low), high=max(cold.high, hot.high))
    with np.errstate(over="ignore"):
        colder, hotter = (known.low - best) / low, (known.high - best) / high
    return replace(known, low=colder, high=hotter, tail=tail, absolute=False)


def _temperatures(known: Knowledge, step: DynamicTemperature) -> tuple[float, float]:
    """The temperatures that the bounds of the entropy allow."""
    if step.low == step.high:
        return step.low, step.high
    low, high = known.entropy()
    fewest = int((known.must & np.isfinite(known.low)).sum())
    most = len(known.low) + known.tail.count
    if fewest < 2:
        return step.low, step.high
    spread = low / math.log(most), min(1.0, high / math.log(fewest))
    reach = step.high - step.low
    bounds = [step.low + reach * one**step.exponent for one in spread]
    return bounds[0], bounds[1]


def smoothed(known: Knowledge, step: QuadraticSmoothing) -> Knowledge:
    """After a bend of everything below the best."""
    lead = known.low[known.leader & (known.low == known.high)]
    if len(lead) == 0:
        return known.any_shape()
    best = float(lead[0])
    k, s = (3 - step.curve) / 2, (step.curve - 1) / 2

    def bent(d: Floats) -> Floats:
        finite = np.where(np.isfinite(d), d, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            value = step.factor * finite * finite * (s * finite - k)
        return np.where(np.isfinite(d) & np.isfinite(value), value, -np.inf)

    below, above = known.low - best, known.high - best
    ends = bent(below), bent(above)
    low, high = np.minimum(*ends), np.maximum(*ends)
    turn = 2 * k / (3 * s) if k < 0 else -math.inf  # of the curve: its highest point
    peak = float(bent(np.array([turn]))[0])
    high = np.where((below <= turn) & (turn <= above), peak, high)
    tail = known.tail
    if not tail.gone:
        top = tail.top - best
        # Where the weight grows most: the slope of the bend is 1 there.
        root = math.sqrt(k * k + 3 * s / step.factor)
        steep = (k - root) / (3 * s) if s else -1 / (2 * step.factor * k)
        places = np.array([one for one in (top, steep) if one <= top])
        growth = float((bent(places) - places).max())
        highest = best + max(float(bent(np.array([top]))[0]), peak if turn <= top else -math.inf)
        together = min(tail.high + growth, highest + math.log(tail.count))
        tail = replace(tail, top=highest, low=-math.inf, high=together)
    return known.shaped(best + low, best + high, tail)


def penalised(
    known: Knowledge,
    step: LogitBias | RepetitionPenalty | FrequencyPresencePenalty | Dry,
    context: Sequence[int],
) -> Knowledge:
    """After a rule that moves the logits of tokens it names, each by itself.

    One that was not sent and becomes less probable stays in the tail, whose weight is then
    less certain. One that becomes more probable is followed by name.
    """
    if isinstance(step, RepetitionPenalty) and not known.absolute:
        return known.any_shape() if step.penalty != 1 and context else known
    touched, banned = np.array(sorted(set(context)), dtype=np.int64), None
    if isinstance(step, LogitBias):
        finite = {one: added for one, added in step.bias if added != -math.inf}
        banned = np.array([one for one, added in step.bias if added == -math.inf], dtype=np.int64)
        touched, step = np.array(sorted(finite), dtype=np.int64), LogitBias(finite)  # type: ignore[arg-type]
    hidden = known.hidden(touched)
    if len(hidden) and math.isfinite(known.tail.top):
        moved = np.zeros(len(hidden))
        for logit in (known.tail.top, known.tail.top - 1):  # at 0 a repetition penalty does nothing
            moved += _moved(step, hidden, np.full(len(hidden), logit), context) - logit
        known = known.naming(hidden[moved > 0])
        known = replace(known, tail=known.tail.less(int((moved < 0).sum()), gone=False))
    low = _moved(step, known.token_ids, known.low, context)
    high = _moved(step, known.token_ids, known.high, context)
    if not (np.array_equal(low, known.low) and np.array_equal(high, known.high)):
        known = known.shaped(low, high, known.tail)
    return known if banned is None else without(known, banned)


def _moved(
    step: Step, token_ids: NDArray[np.int64], logits: Floats, context: Sequence[int]
) -> Floats:
    """What the step makes of each of these logits."""
    if len(token_ids) == 0:
        return logits
    order = np.lexsort((token_ids, -logits))
    made = step(Candidates(token_ids[order], logits[order]), context)
    by_id = np.argsort(token_ids)
    moved = np.empty(len(logits))
    moved[by_id[np.searchsorted(token_ids, made.token_ids, sorter=by_id)]] = made.logits
    return moved


def without(known: Knowledge, banned: NDArray[np.int64]) -> Knowledge:
    """After a ban."""
    gone = np.isin(known.token_ids, banned)
    hidden = known.hidden(banned)
    if not gone.any() and (len(hidden) == 0 or known.tail.gone):
        return known
    known = replace(known, named=np.concatenate((known.named, hidden)))
    return known.kept(known.must, ~gone, known.tail.less(len(hidden), gone=True))


def fitting(known: Knowledge, step: Constraint, context: Sequence[int]) -> Knowledge:
    """After a constraint, which allows tokens by name."""
    assert step.grammar is not None, "the step itself has used it"
    if step.grammar.fit(context) == "broken":
        return known
    allowed = step.grammar.allowed(context)
    allowed = allowed[: known.vocab_size]
    size = len(allowed)
    hidden = np.ones(size, dtype=bool)
    hidden[known.named[known.named < size]] = False
    cut = np.flatnonzero(hidden & ~allowed)
    count = int(hidden.sum()) - len(cut)
    tail = known.tail.some() if len(cut) else known.tail
    tail = replace(tail, count=min(count, tail.count)) if count else NO_TAIL
    known = replace(known, named=np.concatenate((known.named, cut)))
    stays = np.zeros(len(known.token_ids), dtype=bool)
    inside = known.token_ids < size  # a bias may name what is no token
    stays[inside] = allowed[known.token_ids[inside]]
    return known.kept(known.must, stays, tail)
