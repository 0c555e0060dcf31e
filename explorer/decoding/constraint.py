"""A text that must fit a regular expression or a JSON schema."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.parameters import ParameterError

MAX_GRAMMAR = 20_000  # characters

Fit = Literal["open", "complete", "broken"]  # may go on; may only end; no longer fits


class Grammar(Protocol):
    """Which tokens can follow, in one model's vocabulary; made by a backend."""

    def fit(self, context: Sequence[int]) -> Fit:
        """How the text after the prompt stands to the grammar."""
        ...

    def allowed(self, context: Sequence[int]) -> NDArray[np.bool_]:
        """By token id, `(V,)`: whether the token can continue a text that fits."""
        ...


@dataclass(frozen=True, slots=True)
class Constraint:
    """Cut every token that can't continue a text that fits; exactly one of both is given.

    The text is what follows the prompt. It is checked in token ids, so that a byte token
    which begins an allowed character stays. A text that no longer fits, since somebody
    picked a cut token, is not constrained any more. When none of the candidates is allowed,
    the most probable one stays.

    `grammar` is the bound form, which knows a vocabulary; it is no part of the JSON.
    """

    label: ClassVar[str] = "constraint"
    regex: str = ""
    json_schema: str = ""
    grammar: Grammar | None = field(
        default=None, compare=False, repr=False, metadata={"json": False}
    )

    def __post_init__(self) -> None:
        for name in ("regex", "json_schema"):
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > MAX_GRAMMAR:
                raise ParameterError(name, value, f"a text of at most {MAX_GRAMMAR} characters")
        if bool(self.regex) == bool(self.json_schema):
            given = "both" if self.regex else "neither"
            raise ParameterError("regex, json_schema", given, "given by exactly one of the two")

    def bound(self, grammar: Grammar) -> "Constraint":
        return replace(self, grammar=grammar)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.grammar is None:
            raise ValueError("a constraint must be bound to a model's vocabulary to be applied")
        if self.grammar.fit(context) == "broken":
            return candidates
        return candidates.where(self.grammar.allowed(context)[candidates.token_ids])
