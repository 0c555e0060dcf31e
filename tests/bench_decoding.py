"""Speeds of the decoding layer: redraws against transformers, each rule, and the ledger."""

import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from explorer.decoding import (
    STEPS,
    Distribution,
    MinP,
    Step,
    Temperature,
    TopK,
    TopP,
    Typical,
    chain_from_json,
    decode,
    ledger,
    rank_candidates,
    step_name,
)
from tests.timing import compare, record, timed

SIZE = 262_144
CONTEXT = 1000
ROWS = 50

# A setting of each rule that makes it work, most of them text-generation-webui's suggestions.
AT_WORK = [
    {"step": "logit_bias", "bias": {str(i * 37): 1.5 for i in range(100)}},
    {"step": "banned_sequences", "sequences": [[i * 41] for i in range(100)]},
    {"step": "repetition_penalty", "penalty": 1.2},
    {"step": "frequency_presence_penalty", "frequency": 0.5, "presence": 0.5},
    {"step": "dry", "multiplier": 0.8},
    {"step": "no_repeat_ngram", "n": 3},
    {"step": "no_repeat_ngram", "n": 1},
    {"step": "top_n_sigma", "n": 1.0},
    {"step": "temperature", "temperature": 0.7},
    {"step": "dynamic_temperature", "low": 0.5, "high": 2.0},
    {"step": "quadratic_smoothing", "factor": 0.2, "curve": 5.0},
    {"step": "top_k", "k": 50},
    {"step": "top_p", "p": 0.9},
    {"step": "min_p", "min_p": 0.05},
    {"step": "typical", "mass": 0.95},
    {"step": "epsilon_cutoff", "epsilon": 3e-4},
    {"step": "eta_cutoff", "epsilon": 3e-4},
    {"step": "top_a", "a": 0.2},
    {"step": "tail_free", "z": 0.95},
    {"step": "top_h", "h": 0.4},
    {"step": "p_less"},
    {"step": "xtc", "threshold": 0.01},
    {"step": "mirostat_v1", "tau": 5.0, "eta": 0.1},
    {"step": "mirostat_v2", "tau": 5.0, "eta": 0.1},
    {"step": "greedy"},
]


def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, SIZE).astype(np.float32)


def bench_slider(n: int) -> None:
    distribution = Distribution.from_logits(logits())
    tensor = torch.from_numpy(logits())[None]
    settings = iter(np.linspace(0.5, 1.9, 10_000))
    for name, make in (
        ("temperature, top-k 50, top-p, min-p", lambda t: _chain(t, 50, typical=False)),
        ("temperature, top-p, min-p", lambda t: _chain(t, 0, typical=False)),
        ("temperature, top-k 50, top-p, min-p, typical", lambda t: _chain(t, 50, typical=True)),
    ):

        def ours(make: Callable[[float], list[Step]] = make) -> float:
            chain = make(float(next(settings)))
            return timed(lambda: rank_candidates(decode(distribution, chain), ROWS))

        def theirs(make: Callable[[float], list[Step]] = make) -> float:
            processors = _theirs(make(float(next(settings))))
            return timed(lambda: processors(None, tensor.clone()).softmax(-1).topk(ROWS))

        compare(
            f"slider redraw at V = {SIZE:,}: {name}, {ROWS} rows",
            ours,
            theirs,
            "transformers' processors",
            "at least 20× faster",
            n,
        )


def bench_lab(n: int) -> None:
    """Each rule alone on a fresh distribution, and what the ledger adds to a redraw."""
    base = Distribution.from_logits(logits())
    rng = np.random.default_rng(1)
    context = rng.integers(0, SIZE, CONTEXT).tolist()
    slowest = {}
    for entry in AT_WORK:
        (rule,) = chain_from_json([entry])
        times = [_alone(base, rule, context) for _ in range(max(5, n // 4))]
        name = step_name(rule)
        slowest[name] = max(slowest.get(name, 0.0), statistics.median(times))
    left_out = set(STEPS) - set(slowest)  # a constraint is its engine's time, not a rule's
    print(f"each rule alone at V = {SIZE:,} with {CONTEXT:,} tokens of context, no {left_out}")
    for name, seconds in sorted(slowest.items(), key=lambda item: -item[1]):
        print(f"  {seconds * 1e3:8.2f} ms  {name}")
    print("  (target: at most 15 ms each)", flush=True)

    chain = _chain(0.8, 200, typical=True)
    pairs = [
        (
            1e3 * _ledger(base, chain),
            1e3 * timed(lambda: rank_candidates(decode(base, chain), ROWS)),
        )
        for _ in range(n)
    ]
    record(
        f"ledger of {ROWS} rows and {len(chain)} stages at V = {SIZE:,}",
        pairs,
        "the redraw that it comes on top of",
        "at most 5 ms",
    )


def _alone(base: Distribution, rule: Step, context: Sequence[int]) -> float:
    fresh = Distribution(base.token_ids, base.logits, vocab_size=SIZE)
    return timed(lambda: decode(fresh, [rule], context).final.probabilities)


def _ledger(base: Distribution, chain: Sequence[Step]) -> float:
    trace = decode(base, chain)
    return timed(lambda: ledger(trace, base.token_ids[:ROWS]))


def _chain(t: float, k: int, *, typical: bool) -> list[Step]:
    chain: list[Step] = [Temperature(t), TopK(k), TopP(0.9), MinP(0.02)]
    return [*chain, Typical(0.9)] if typical else chain


def _theirs(chain: Sequence[Step]) -> LogitsProcessorList:
    made = []
    for step in chain:
        match step:
            case Temperature(t):
                made.append(TemperatureLogitsWarper(t))
            case TopK(k) if k:
                made.append(TopKLogitsWarper(k))
            case TopP(p):
                made.append(TopPLogitsWarper(p))
            case MinP(m):
                made.append(MinPLogitsWarper(m))
            case Typical(mass):
                made.append(TypicalLogitsWarper(mass))
    return LogitsProcessorList(made)
