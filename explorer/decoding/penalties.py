"""Rules that change the logits of a few tokens: bias and penalties for what was said before."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.parameters import (
    MAX_TOKEN_ID,
    ParameterError,
    check_count,
    check_real,
    token_ids_parameter,
)

MAX_BIASES = 10_000
HUGE = 1e307  # a logit stays finite, whatever a tiny temperature made of it
STRONGEST = 1e4  # of a bias; far beyond the spread of any logits


def _bias_to_json(bias: tuple[tuple[int, float], ...]) -> dict[str, float | None]:
    return {str(token_id): None if value == -math.inf else value for token_id, value in bias}


def _bias(given: Any) -> tuple[tuple[int, float], ...]:
    allowed = f"at most {MAX_BIASES} token ids, each with its bias"
    if isinstance(given, tuple):  # as it is kept
        try:
            given = dict(given)
        except (TypeError, ValueError) as error:
            raise ParameterError("bias", given, allowed) from error
    if not isinstance(given, Mapping) or len(given) > MAX_BIASES:
        raise ParameterError("bias", given, allowed)
    pairs: dict[int, float] = {}
    for key, value in given.items():
        plain = isinstance(key, str) and key.isdecimal() and key.isascii() and len(key) < 11
        token_id = int(key) if plain else key
        check_count("bias token_id", token_id, 0, MAX_TOKEN_ID)
        if value is None or (isinstance(value, float) and value == -math.inf):
            value = -math.inf
        else:
            check_real(f"bias[{token_id}]", value, -STRONGEST, STRONGEST)
        pairs[token_id] = float(value)
    return tuple(sorted(pairs.items()))


@dataclass(frozen=True, slots=True)
class LogitBias:
    """Add to the logits of some tokens; -inf (in JSON: null) bans a token.

    `bias` maps token ids to what is added; it is kept as sorted pairs. As OpenAI's and
    llama.cpp's `logit_bias`, it belongs first in a chain, on the raw logits.

    >>> three = Candidates(np.arange(3), np.array([2.0, 1.0, 0.0]))
    >>> LogitBias({2: 3.0, 0: -np.inf})(three, ()).token_ids.tolist()
    [2, 1]
    """

    label: ClassVar[str] = "logit bias"
    bias: tuple[tuple[int, float], ...] = field(metadata={"to_json": _bias_to_json})

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", _bias(self.bias))

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        token_ids = np.array([token_id for token_id, _ in self.bias], dtype=np.int64)
        values = np.array([value for _, value in self.bias])
        logits = candidates.logits_of(token_ids)
        moved = ~np.isnan(logits) & np.isfinite(values) & (values != 0)
        if moved.any():
            candidates = candidates.with_logits(token_ids[moved], logits[moved] + values[moved])
        return without(candidates, token_ids[~np.isfinite(values)])


@dataclass(frozen=True, slots=True)
class RepetitionPenalty:
    """Make every token of the context less likely, once, however often it occurred.

    A logit above 0 is divided by the penalty, any other multiplied (CTRL, Keskar et al. 2019).
    So it depends on where the logits' zero lies: a shift of all of them changes the result.
    `window` is how many of the last tokens count, 0 all; 1 is off.

    >>> three = Candidates(np.arange(3), np.array([2.0, 1.5, -1.0]))
    >>> penalised = RepetitionPenalty(2.0)(three, [0, 0, 2])
    >>> penalised.token_ids.tolist(), penalised.logits.tolist()
    ([1, 0, 2], [1.5, 1.0, -2.0])
    """

    label: ClassVar[str] = "repetition penalty"
    penalty: float
    window: int = 0

    def __post_init__(self) -> None:
        check_real("penalty", self.penalty, 0.01, 100)
        check_count("window", self.window)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.penalty == 1 or not context:
            return candidates
        seen = np.unique(np.asarray(context[-self.window :], dtype=np.int64))
        logits = candidates.logits_of(seen)
        with np.errstate(over="ignore"):
            changed = np.where(logits > 0, logits / self.penalty, logits * self.penalty)
        changed = np.where(np.isfinite(logits), np.clip(changed, -HUGE, HUGE), logits)
        return _changed(candidates, seen, logits, changed)


@dataclass(frozen=True, slots=True)
class FrequencyPresencePenalty:
    """Subtract `frequency` for each occurrence of a token in the context, and `presence` once.

    OpenAI's definition counts the answer only; here it is the last `window` tokens, prompt
    included, 0 for all of them, as in llama.cpp. Negative values invite repetition; 0 is off.

    >>> two = Candidates(np.arange(2), np.array([2.0, 1.0]))
    >>> FrequencyPresencePenalty(0.5, 0.25)(two, [0, 0]).logits.tolist()
    [1.0, 0.75]
    """

    label: ClassVar[str] = "frequency and presence penalty"
    frequency: float = 0.0
    presence: float = 0.0
    window: int = 0

    def __post_init__(self) -> None:
        check_real("frequency", self.frequency, -100, 100)
        check_real("presence", self.presence, -100, 100)
        check_count("window", self.window)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if (self.frequency == 0 and self.presence == 0) or not context:
            return candidates
        recent = np.asarray(context[-self.window :], dtype=np.int64)
        seen, counts = np.unique(recent, return_counts=True)
        logits = candidates.logits_of(seen)
        penalty = counts * self.frequency + self.presence
        return _changed(candidates, seen, logits, logits - penalty)


@dataclass(frozen=True, slots=True)
class Dry:
    """Don't Repeat Yourself: penalise a token that would continue a repetition of the context.

    With m the length of the longest end of the context that occurred earlier with the token
    after it, and m >= allowed_length: l -= multiplier * base ** (m - allowed_length). By
    p-e-w, for text-generation-webui (2024). A match does not cross a breaker, nothing is
    penalised right after one, and a breaker itself never is. `window` is how many of the
    last tokens count, 0 all. multiplier = 0 is off.

    >>> three = Candidates(np.arange(3), np.array([3.0, 2.0, 1.0]))
    >>> Dry(1.0, base=2.0)(three, [1, 2, 0, 1, 2]).logits.tolist()  # "1 2" came with 0 after it
    [2.0, 2.0, 1.0]
    """

    label: ClassVar[str] = "DRY"
    multiplier: float
    base: float = 1.75
    allowed_length: int = 2
    window: int = 0
    breakers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_real("multiplier", self.multiplier, 0, 100)
        check_real("base", self.base, 1, 100)
        check_count("allowed_length", self.allowed_length, 1)
        check_count("window", self.window)
        object.__setattr__(self, "breakers", token_ids_parameter("breakers", self.breakers))

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.multiplier == 0 or not context:
            return candidates
        longest = _repetitions(list(context[-self.window :]), frozenset(self.breakers))
        long = {token: m for token, m in longest.items() if m >= self.allowed_length}
        token_ids = np.array(list(long), dtype=np.int64)
        beyond = np.array(list(long.values()), dtype=np.float64) - self.allowed_length
        if self.base > 1:  # the exponent is capped where a float ends
            beyond = np.minimum(beyond, 600 / math.log(self.base))
        penalty = self.multiplier * self.base**beyond
        logits = candidates.logits_of(token_ids)
        return _changed(candidates, token_ids, logits, logits - penalty)


def _repetitions(context: list[int], breakers: frozenset[int]) -> dict[int, int]:
    """For each token that would continue a repetition, the length of the longest one.

    The Z-algorithm on the reversed context gives at once, for every place, how much of the
    context's end is repeated there.
    """
    free = next((n for n, token in enumerate(reversed(context)) if token in breakers), None)
    reach = len(context) if free is None else free
    backwards = context[::-1]
    z = [0] * len(backwards)
    left = right = 0
    longest: dict[int, int] = {}
    for i in range(1, len(backwards)):
        length = min(right - i, z[i - left]) if i < right else 0
        while i + length < len(backwards) and backwards[i + length] == backwards[length]:
            length += 1
        z[i] = length
        if i + length > right:
            left, right = i, i + length
        following, m = backwards[i - 1], min(length, reach)
        if m and following not in breakers:
            longest[following] = max(m, longest.get(following, 0))
    return longest


def without(candidates: Candidates, token_ids: NDArray[np.int64]) -> Candidates:
    """All but these tokens; the most probable one stays when none else would."""
    places = candidates.places_of(token_ids)
    places = places[places >= 0]
    if len(places) == 0:
        return candidates
    keep = np.ones(len(candidates), dtype=bool)
    keep[places] = False
    return candidates.where(keep)


def _changed(
    candidates: Candidates,
    token_ids: NDArray[np.int64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> Candidates:
    """With these tokens' logits changed from `before`, NaN for those that are not there."""
    moved = ~np.isnan(before) & (before != after)
    return candidates.with_logits(token_ids[moved], after[moved]) if moved.any() else candidates
