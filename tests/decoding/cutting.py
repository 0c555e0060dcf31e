"""What the tests of ticks and of least changes share: every rule with a line to move."""

from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import strategies as st

from explorer.decoding import CuttingStep, Stage, Step, Xtc
from tests.decoding.strategies import BY_KIND, shares

CUTTING = [kind for kind in BY_KIND if isinstance(kind, CuttingStep)]
EVERY = pytest.mark.parametrize("kind", CUTTING, ids=lambda kind: str(kind.__name__))


def acting(kind: type[Step]) -> st.SearchStrategy[Step]:
    """An XTC that never fires cuts nothing whatever its threshold; JSON may write 1.0 as 1."""
    random = st.builds(Xtc, shares) if kind is Xtc else BY_KIND[kind]
    return random | st.builds(kind, st.sampled_from([0, 1]))


def kept_at(stage: Stage, value: float) -> set[int]:
    """Who stays of what the step was given, with its parameter at this value."""
    step = cast(CuttingStep, stage.step)
    moved = replace(cast(Any, step), **{step.parameter: value})
    return set(moved(stage.before, ()).token_ids.tolist())
