"""What a decoding rule is."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from explorer.decoding.candidates import Candidates

if TYPE_CHECKING:
    from explorer.decoding.chain import Stage
    from explorer.decoding.mirostat import Observation


class Step(Protocol):
    """One rule: takes the sorted candidates and the context ids, returns the survivors.

    A step is a frozen dataclass of its parameters. It never reports what it removed: the
    chain compares what went in with what came out, so no rule can forget to. It returns at
    least one candidate, most probable first, and changes nothing that it was given.
    """

    label: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates: ...


@runtime_checkable
class StatefulStep(Protocol):
    """A step whose next state depends on the token that was drawn: Mirostat, with its mu."""

    mu: float | None

    def observed(self, stage: "Stage", token_id: int) -> "Observation":
        """What the token meant to the step: its surprise, and the mu after it."""
        ...

    def advanced(self, stage: "Stage", token_id: int) -> Step:
        """The step for the position after the token."""
        ...


Chain = tuple[Step, ...]


def step_name(step: Step | type) -> str:
    """The name of a step in JSON: its class in snake case.

    >>> class TopNSigma: ...
    >>> step_name(TopNSigma)
    'top_n_sigma'
    """
    name = step.__name__ if isinstance(step, type) else type(step).__name__
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
