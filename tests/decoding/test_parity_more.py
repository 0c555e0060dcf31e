"""The rules that transformers has besides its first four, on the same logits."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from transformers.generation.logits_process import TopHLogitsWarper

from explorer.decoding import (
    BannedSequences,
    EpsilonCutoff,
    EtaCutoff,
    LogitBias,
    MinP,
    NoRepeatNgram,
    RepetitionPenalty,
    Step,
    Temperature,
    TopH,
    TopK,
    TopP,
    Typical,
    decode,
)

SIZES = [2, 3, 30, 1_000, 20_000]
SCALES = [0.1, 1.0, 3.0, 10.0]

PAIRS: list[tuple[Step, LogitsProcessor]] = [
    *((TopH(h), TopHLogitsWarper(h)) for h in (0.03, 0.31, 0.7, 0.97)),
    *((Typical(m), TypicalLogitsWarper(m)) for m in (0.03, 0.31, 0.7, 0.97)),
    *((EpsilonCutoff(e), EpsilonLogitsWarper(e)) for e in (1e-7, 3e-4, 0.02, 0.31, 0.97)),
    *((EtaCutoff(e), EtaLogitsWarper(e)) for e in (1e-7, 3e-4, 0.02, 0.31, 0.97)),
]
NAMES = [str(step) for step, _ in PAIRS]


def tie_free(seed: int, size: int, scale: float = 3.0) -> NDArray[np.float64]:
    logits = np.random.default_rng([seed, size]).normal(0, scale, size)
    assert len(np.unique(logits)) == size
    return logits


def on_a_grid(seed: int, size: int) -> NDArray[np.float32]:
    """As of a model in half precision: hardly a logit without its like."""
    random = np.random.default_rng([seed, size])
    return (np.round(random.normal(0, 2, size) * 4) / 4).astype(np.float32)


def a_context(seed: int, size: int, length: int) -> list[int]:
    return np.random.default_rng([seed, size, length]).integers(0, size, length).tolist()


def theirs(
    logits: NDArray[np.floating], context: Sequence[int], *processors: LogitsProcessor
) -> NDArray[np.float64]:
    """Their logits, -inf where they cut."""
    ids = torch.tensor([list(context)], dtype=torch.long)
    batch = torch.tensor(logits, dtype=torch.float64)[None]
    return LogitsProcessorList(processors)(ids, batch)[0].numpy()


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def assert_same(
    logits: NDArray[np.floating],
    context: Sequence[int],
    steps: Sequence[Step],
    *processors: LogitsProcessor,
) -> None:
    expected = theirs(logits, context, *processors)
    trace = decode(logits, steps, context)
    survivors = np.flatnonzero(expected > -np.inf)
    assert np.sort(trace.final.token_ids).tolist() == survivors.tolist()
    np.testing.assert_allclose(
        trace.final.logits, expected[trace.final.token_ids], rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(trace.probabilities, softmax(expected), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("step", "warper"), PAIRS, ids=NAMES)
def test_each_cutoff_is_transformers_cutoff(step: Step, warper: LogitsProcessor, size: int) -> None:
    for seed in range(2 if size > 10_000 else 8):
        for scale in SCALES:
            assert_same(tie_free(seed, size, scale), (), [step], warper)


@pytest.mark.parametrize("epsilon", [1e-5, 3e-4, 0.02])
def test_the_cutoffs_that_split_no_tie_agree_on_ties(epsilon: float) -> None:
    for seed in range(10):
        for size in (40, 3_000):
            logits = on_a_grid(seed, size)
            assert_same(logits, (), [EpsilonCutoff(epsilon)], EpsilonLogitsWarper(epsilon))
            assert_same(logits, (), [EtaCutoff(epsilon)], EtaLogitsWarper(epsilon))
            assert_same(logits, (), [MinP(epsilon)], MinPLogitsWarper(epsilon))
            assert_same(logits, (), [Temperature(0.7)], TemperatureLogitsWarper(0.7))


@pytest.mark.parametrize(
    ("step", "warper"),
    [
        (TopH(0.53), TopHLogitsWarper(0.53)),
        (TopP(0.53), TopPLogitsWarper(0.53)),
        (TopP(0.93), TopPLogitsWarper(0.93)),
    ],
    ids=str,
)
def test_difference_the_others_split_ties_at_another_end(
    step: Step, warper: LogitsProcessor
) -> None:
    for seed in range(10):
        for size in (40, 1_000):
            logits = on_a_grid(seed, size)
            expected = theirs(logits, (), warper)
            kept = decode(logits, [step]).final
            # Neither torch's topk nor its ascending sort puts the lower id first: only which
            # of the equal tokens stay differs.
            assert np.sort(kept.logits).tolist() == np.sort(expected[expected > -np.inf]).tolist()
            last = logits[kept.token_ids[-1]]
            ids = np.flatnonzero(logits == last)
            among = np.sort(kept.token_ids[kept.logits == last])
            assert among.tolist() == ids[: len(among)].tolist()


@pytest.mark.parametrize("mass", [0.11, 0.53, 0.93])
def test_difference_typical_and_top_k_keep_every_tie_there(mass: float) -> None:
    seen = 0
    for seed in range(20):
        logits = on_a_grid(seed, 200)
        p = softmax(logits.astype(np.float64))
        distance = np.abs(-np.log(p) + (p * np.log(p)).sum())
        typical = decode(logits, [Typical(mass)]).final.token_ids
        more = np.setdiff1d(
            np.flatnonzero(theirs(logits, (), TypicalLogitsWarper(mass)) > -np.inf), typical
        )
        np.testing.assert_allclose(distance[more], distance[typical].max(), rtol=1e-9)
        top = decode(logits, [TopK(20)]).final.token_ids
        more_top = np.setdiff1d(
            np.flatnonzero(theirs(logits, (), TopKLogitsWarper(20)) > -np.inf), top
        )
        assert (logits[more_top] == logits[top].min()).all()
        seen += len(more) + len(more_top)
    assert seen > 0


@pytest.mark.parametrize(("step", "warper"), PAIRS[4:], ids=NAMES[4:])
def test_impossible_tokens_are_cut_by_both(step: Step, warper: LogitsProcessor) -> None:
    logits = tie_free(5, 300)
    logits[np.random.default_rng(5).random(300) < 0.3] = -np.inf
    assert_same(logits, (), [step], warper)


@pytest.mark.parametrize("h", [0.01, 0.5, 0.97])
@pytest.mark.parametrize("logits", [[0.0, 800.0, 10.0], [-1e4, -1.1e4, -1.2e4]])
def test_where_one_token_is_certain_top_h_keeps_it_alone(logits: list[float], h: float) -> None:
    assert_same(np.array(logits), (), [TopH(h)], TopHLogitsWarper(h))


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 5.0])
@pytest.mark.parametrize("length", [0, 1, 30, 3_000])
def test_repetition_penalty(penalty: float, length: int) -> None:
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    for size in (5, 1_000):
        for seed in range(6):
            context = a_context(seed, size, length)
            for logits in (tie_free(seed, size), on_a_grid(seed, size)):
                assert_same(logits, context, [RepetitionPenalty(penalty)], processor)


@pytest.mark.parametrize("window", [1, 7, 64, 1_000])
def test_repetition_penalty_of_a_window_sees_only_that(window: int) -> None:
    processor = RepetitionPenaltyLogitsProcessor(1.7)
    for seed in range(10):
        logits, context = tie_free(seed, 60), a_context(seed, 60, 100)
        trace = decode(logits, [RepetitionPenalty(1.7, window)], context)
        expected = softmax(theirs(logits, context[-window:], processor))
        np.testing.assert_allclose(trace.probabilities, expected, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 4, 5, 60])
def test_no_repeat_ngram(n: int, length: int) -> None:
    for seed in range(12):
        # Few ids, so that n-grams do come back; more tokens, so that some stay.
        logits, context = tie_free(seed, 40), a_context(seed, 3, length)
        processor = NoRepeatNGramLogitsProcessor(n)
        assert_same(logits, context, [NoRepeatNgram(n)], processor)


def test_banned_sequences() -> None:
    cut = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        context = random.integers(0, 3, random.integers(0, 6)).tolist()
        sequences = [random.integers(0, 4, random.integers(1, 4)).tolist() for _ in range(8)]
        logits = tie_free(seed, 12)
        steps = [BannedSequences(sequences)]
        assert_same(logits, context, steps, NoBadWordsLogitsProcessor(sequences))
        cut += len(decode(logits, steps, context).stages[0].removed)
    assert cut > 60


def test_logit_bias() -> None:
    for seed in range(30):
        random = np.random.default_rng(seed)
        token_ids = random.choice(200, 20, replace=False).tolist()
        # transformers holds them in float32: such that it holds them exactly.
        values = (random.integers(-80, 80, 20) / 16).tolist()
        bias = dict(zip(token_ids, values, strict=True))
        bias[token_ids[0]] = -np.inf
        processor = SequenceBiasLogitsProcessor({(i,): v for i, v in bias.items()})
        for logits in (tie_free(seed, 200), on_a_grid(seed, 200)):
            assert_same(logits, (), [LogitBias(bias)], processor)


def test_difference_a_bias_on_an_unknown_id_is_an_error_there() -> None:
    with pytest.raises(ValueError, match="vocabulary size is 3"):
        theirs(np.zeros(3), (), SequenceBiasLogitsProcessor({(3,): 1.0}))
    assert decode(np.zeros(3), [LogitBias({3: 1.0})]).final.token_ids.tolist() == [0, 1, 2]


def test_difference_all_banned_leaves_the_best_where_transformers_leaves_nothing() -> None:
    banned = [[0], [1], [2]]
    logits = np.array([1.0, 3.0, 2.0])
    assert (theirs(logits, (), NoBadWordsLogitsProcessor(banned)) == -np.inf).all()
    assert decode(logits, [BannedSequences(banned)]).final.token_ids.tolist() == [1]


def test_difference_a_tie_of_the_best_below_the_line_stays_whole_there() -> None:
    logits = np.array([1.0, 1.0, 0.0])
    assert (theirs(logits, (), EpsilonLogitsWarper(0.9)) > -np.inf).tolist() == [True, True, False]
    assert decode(logits, [EpsilonCutoff(0.9)]).final.token_ids.tolist() == [0]


def test_a_whole_chain_in_transformers_order() -> None:
    steps = [
        LogitBias({3: 1.5, 4: -np.inf}),
        RepetitionPenalty(1.2),
        NoRepeatNgram(2),
        BannedSequences([[8], [0, 1]]),
        Temperature(1.4),
        TopH(0.93),
        TopK(60),
        TopP(0.97),
        MinP(0.013),
        Typical(0.93),
        EpsilonCutoff(0.0013),
        EtaCutoff(0.0031),
    ]
    processors = [
        SequenceBiasLogitsProcessor({(3,): 1.5, (4,): -np.inf}),
        RepetitionPenaltyLogitsProcessor(1.2),
        NoRepeatNGramLogitsProcessor(2),
        NoBadWordsLogitsProcessor([[8], [0, 1]]),
        TemperatureLogitsWarper(1.4),
        TopHLogitsWarper(0.93),
        TopKLogitsWarper(60),
        TopPLogitsWarper(0.97),
        MinPLogitsWarper(0.013),
        TypicalLogitsWarper(0.93),
        EpsilonLogitsWarper(0.0013),
        EtaLogitsWarper(0.0031),
    ]
    for seed in range(20):
        logits = tie_free(seed, 300, 2.0)
        context = [*a_context(seed, 300, 40), *a_context(seed, 3, 20)]
        for length in range(1, len(steps) + 1):
            assert_same(logits, context, steps[:length], *processors[:length])
        assert_same(logits, context, steps[1::2], *processors[1::2])
