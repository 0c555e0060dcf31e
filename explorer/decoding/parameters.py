"""Checks on the parameters of steps: one place, one kind of error."""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_TOKEN_ID = 2**31 - 1
MAX_TOKEN_IDS = 10_000


class ParameterError(ValueError):
    """A parameter is out of its range or of the wrong type.

    Carries what was wrong, so that a screen can say it in any language: `limits` holds what
    is allowed as data, where it is a range or a choice.
    """

    def __init__(
        self,
        parameter: str,
        value: object,
        allowed: str,
        limits: Mapping[str, object] | None = None,
    ) -> None:
        try:
            said = repr(value)
        except ValueError:  # Python writes no whole number of more than 4,300 digits
            said = "a number of thousands of digits"
            value = said
        super().__init__(f"{parameter} must be {allowed}, got {said}")
        self.parameter = parameter
        self.value = value
        self.allowed = allowed
        self.limits = dict(limits or {})

    def renamed(self, parameter: str) -> "ParameterError":
        """The same of a parameter that has a longer name further out."""
        return ParameterError(parameter, self.value, self.allowed, self.limits)

    def with_value(self, value: object) -> "ParameterError":
        """The same, with a value that is fit to be shown."""
        return ParameterError(self.parameter, value, self.allowed, self.limits)


def not_one_of(parameter: str, value: object, names: Sequence[str]) -> ParameterError:
    listed = ", ".join(names)
    return ParameterError(parameter, value, f"one of {listed}", {"kind": "one_of", "names": listed})


def check_real(parameter: str, value: Any, low: float, high: float) -> None:
    """`low <= value <= high`, finite, and a number (a bool is not one).

    >>> check_real("p", 1.5, 0, 1)
    Traceback (most recent call last):
    explorer.decoding.parameters.ParameterError: p must be a number from 0 to 1, got 1.5
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # false for NaN, too
        limits = {"kind": "number", "low": low, "high": high}
        raise ParameterError(parameter, value, f"a number from {low:g} to {high:g}", limits)


def check_count(parameter: str, value: Any, low: int = 0, high: int = 2**31 - 1) -> None:
    """A whole number from `low` to `high`; a bool or a float is refused."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        limits = {"kind": "whole", "low": low, "high": high}
        raise ParameterError(parameter, value, f"a whole number from {low} to {high}", limits)


def token_ids_parameter(parameter: str, value: Any, at_least: int = 0) -> tuple[int, ...]:
    """A list of token ids as a tuple."""
    if not isinstance(value, list | tuple) or not at_least <= len(value) <= MAX_TOKEN_IDS:
        raise ParameterError(parameter, value, f"a list of {at_least} to {MAX_TOKEN_IDS} token ids")
    for token_id in value:
        check_count(f"{parameter} token_id", token_id, 0, MAX_TOKEN_ID)
    return tuple(value)
