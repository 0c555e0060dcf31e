"""Imports Gradio without its editor stubs.

While it is imported, Gradio parses the source of each of its eighty components to write a `.pyi`
file next to it. That is more than half of the import's time, at every start, for files which only
an editor reads. A class whose source can't be found gets no such file, so while this module runs
Gradio's classes have none.
"""

import inspect
from typing import Any

_find = inspect.getfile


def _getfile(of: Any) -> str:
    if getattr(of, "__module__", "").startswith("gradio."):
        raise OSError("no stub is wanted for this class")
    return _find(of)


inspect.getfile = _getfile  # type: ignore[assignment]
try:
    import gradio.blocks_events
    import gradio.component_meta
finally:
    inspect.getfile = _find

for module in (gradio.component_meta, gradio.blocks_events):
    module.create_or_modify_pyi = lambda *_: None  # nor for classes of our own
