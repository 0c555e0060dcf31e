"""Tells when the page answers: Gradio asks its own server whether it is there before all others."""

from collections.abc import Callable
from typing import Any


class FirstRequest:
    """An ASGI application around another one that tells of the first request to come."""

    def __init__(self, app: Any, *, tell: Callable[[], None]) -> None:
        self._app, self._tell = app, tell
        self._came = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not self._came:
            self._came = True
            self._tell()
        await self._app(scope, receive, send)
