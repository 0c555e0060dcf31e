"""Gradio is imported without its stubs, and Python is left as it was."""

import subprocess
import sys

PROGRAM = """
import inspect
found = inspect.getfile
from unittest import mock
with mock.patch("ast.get_source_segment", side_effect=AssertionError("a stub is made")):
    import explorer.ui.quick_import
assert inspect.getfile is found
import gradio
assert inspect.getfile(gradio.Textbox).endswith("textbox.py")
"""


def test_gradio_is_imported_without_writing_stubs() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
