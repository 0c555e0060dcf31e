"""Rules that forbid tokens: banned texts, n-grams that were said before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.parameters import ParameterError, check_count, token_ids_parameter
from explorer.decoding.penalties import without

MAX_SEQUENCES = 1000


@dataclass(frozen=True, slots=True)
class BannedSequences:
    """Forbid sequences of token ids.

    A sequence of one token bans it. Of a longer one the last token is banned when all before
    it stand at the end of the context (transformers' `bad_words_ids`).

    >>> three = Candidates(np.arange(3), np.zeros(3))
    >>> BannedSequences([[0], [7, 2]])(three, [7]).token_ids.tolist()
    [1]
    """

    label: ClassVar[str] = "ban"
    sequences: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        given: Any = self.sequences
        allowed = f"a list of at most {MAX_SEQUENCES} lists of token ids"
        if not isinstance(given, list | tuple) or len(given) > MAX_SEQUENCES:
            raise ParameterError("sequences", given, allowed)
        sequences = tuple(
            token_ids_parameter(f"sequences[{number}]", sequence, at_least=1)
            for number, sequence in enumerate(given)
        )
        object.__setattr__(self, "sequences", sequences)

    def banned(self, context: Sequence[int]) -> NDArray[np.int64]:
        """Token ids that can't follow."""
        banned = {
            last
            for *before, last in self.sequences
            if not before or tuple(context[-len(before) :]) == tuple(before)
        }
        return np.array(sorted(banned), dtype=np.int64)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return without(candidates, self.banned(context))


@dataclass(frozen=True, slots=True)
class NoRepeatNgram:
    """Forbid every token that would repeat n tokens in a row of the context; n = 0 is off.

    Paulus et al. (2017); n = 1 forbids every token seen.

    >>> three = Candidates(np.arange(3), np.zeros(3))
    >>> NoRepeatNgram(2)(three, [0, 1, 0]).token_ids.tolist()  # "0 1" was said
    [0, 2]
    """

    label: ClassVar[str] = "no-repeat n-gram"
    n: int

    def __post_init__(self) -> None:
        check_count("n", self.n)

    def banned(self, context: Sequence[int]) -> NDArray[np.int64]:
        """Token ids that can't follow."""
        if self.n == 0 or len(context) < self.n:
            return np.zeros(0, dtype=np.int64)
        said = np.lib.stride_tricks.sliding_window_view(np.asarray(context, dtype=np.int64), self.n)
        start = np.asarray(context[len(context) - self.n + 1 :], dtype=np.int64)
        repeats = said[(said[:, :-1] == start).all(axis=1), -1]
        return np.unique(repeats)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return without(candidates, self.banned(context))
