"""The page and the endpoints: the only code that knows Gradio."""

from explorer.ui.build import LAUNCH_OPTIONS, Explorer, build_ui
from explorer.ui.watching import Standing, Unwatched, Watch

__all__ = ["LAUNCH_OPTIONS", "Explorer", "Standing", "Unwatched", "Watch", "build_ui"]
