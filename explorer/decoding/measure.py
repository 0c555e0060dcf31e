"""What a cutting rule looks at: the number it compares, and where it draws the line."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates

Quantity = Literal[
    "rank",  # from 1, among the candidates that the rule sees
    "probability",  # renormalised over those
    "mass_before",  # of all more probable ones
    "logit",
    "typical_mass_before",  # of all that are closer to the expected surprisal
    "curvature",  # share of the summed second differences up to the token before
    "entropy_share",  # -p ln p summed up to and with the token, over H
    "surprisal",  # in bits
]
Keeps = Literal["at_most", "at_least", "below"]  # a token stays when its number is … the line


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """One number for each asked token, and the line between staying and going."""

    quantity: Quantity
    values: NDArray[np.float64]  # (m,)
    line: float
    keeps: Keeps


@runtime_checkable
class MeasuringStep(Protocol):
    """A rule that cuts by a number, and tells the number and the line.

    `places` count from 0 among the candidates that the rule is given.
    """

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured: ...


@runtime_checkable
class CuttingStep(MeasuringStep, Protocol):
    """A measuring rule with a parameter that moves its line."""

    parameter: ClassVar[str]  # the field's name
    widens: ClassVar[bool]  # whether a higher value keeps more
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates: ...

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The parameter's value at which each of these tokens stands on the line, `(m,)`."""
        ...


def is_count(step: CuttingStep) -> bool:
    """Whether the parameter is a whole number, whatever it was given as."""
    return step.__dataclass_fields__[step.parameter].type in (int, "int")


def shares_at(candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probabilities of the candidates at these places, which count from 0."""
    return candidates.head(int(places.max(initial=0)) + 1).probabilities[places]


def ranks(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Places, which count from 0, as ranks, which count from 1."""
    return (places + 1).astype(np.float64)


def rounded_past(value: float, digits: int, *, upwards: bool) -> float:
    """To so many significant digits, away from the value or onto it.

    >>> rounded_past(0.03127, 2, upwards=True), rounded_past(0.03127, 2, upwards=False)
    (0.032, 0.031)
    """
    rounding = ROUND_CEILING if upwards else ROUND_FLOOR
    return float(Context(prec=digits, rounding=rounding).plus(Decimal(value)))
