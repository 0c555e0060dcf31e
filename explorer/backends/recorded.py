"""Forward passes that run without Python.

A pass is a thousand small operations. Python calls them one by one, which takes longer than many
of them do, and holds its lock for each call. Recorded once by torch's tracer, they are one call, in
the course of which Python is not needed at all.

A recording repeats what was done, and not what the code might have decided about other inputs.
torch's tracer says where code looks at a shape or a value to decide something; such a pass is not
recorded. What must choose at each call is compiled instead (`torch.jit.script`) and called by
the recording.
"""

import itertools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

log = logging.getLogger(__name__)

Pass = Callable[..., Tensor]

MOST = 10  # recordings of one process: torch never frees what one takes, some 50 MB
_recordings = itertools.count(1)


def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> Pass | None:
    """What does the same as a call of `module`; `None` where that can't be told from `inputs`.

    Modules in it that are compiled are called with what they hold at that time.
    """
    if next(_recordings) > MOST:
        log.info("no more passes are recorded by this process")
        return None
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            traced: Any = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        log.info("a pass can't be recorded: %s", error)
        return None
    decisions = [one for one in said if _tells_a_decision(one)]
    if decisions:
        log.info(
            "a pass decides by its inputs: %s, line %d", decisions[0].filename, decisions[0].lineno
        )
        return None

    def run(*inputs: Tensor) -> Tensor:
        # Optimising takes as long as twenty steps, twice, and gains nothing: there is nothing to
        # fuse without a compiler.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            result: Tensor = traced(*inputs)
        return result

    return run


def _tells_a_decision(said: warnings.WarningMessage) -> bool:
    """Not where torch itself checks its arguments."""
    in_torch = Path(said.filename).is_relative_to(Path(torch.__file__).parent)
    return issubclass(said.category, TracerWarning) and not in_torch
