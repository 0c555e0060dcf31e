"""The page and the endpoints: the only code that knows Gradio."""

from explorer.ui.build import LAUNCH_OPTIONS, build_ui

__all__ = ["LAUNCH_OPTIONS", "build_ui"]
