"""What is served beside the page for whoever runs the app: its health and its metrics."""

from explorer.serving.metrics import Metrics
from explorer.serving.pages import add_pages

__all__ = ["Metrics", "add_pages"]
