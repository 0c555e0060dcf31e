"""What whoever runs the app may watch: how requests went, and how the app stands. No contents."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

from explorer.backends.base import AskerGone, Models, Usage
from explorer.decoding.parameters import ParameterError

GONE = "asker_gone"


class Watch(Protocol):
    """Told of each request when it is done."""

    def done(self, name: str, seconds: float, error: str | None) -> None:
        """What a client called an action, or an endpoint's name, and the code of its error."""
        ...

    def added(self, tokens: int) -> None:
        """So many tokens were added to somebody's text."""
        ...


class Unwatched:
    """For an app that nobody watches."""

    def done(self, name: str, seconds: float, error: str | None) -> None:
        return

    def added(self, tokens: int) -> None:
        return


@dataclass(frozen=True, slots=True)
class Standing:
    """How the app stands at one moment."""

    default: str  # model
    phase: str  # of that model
    offered: tuple[str, ...]  # names of models that are no secret
    usage: Usage
    requests: int  # of the page and the endpoints, in work
    calls: int  # of the endpoints, before that
    sessions: int

    @property
    def ready(self) -> bool:
        return self.phase == "ready"


def standing_of(models: Models, *, requests: int, calls: int, sessions: int) -> Standing:
    offered = tuple(choice.name for choice in models.choices())
    phase = models.status(models.default).phase
    return Standing(models.default, phase, offered, models.usage(), requests, calls, sessions)


def tell(watch: Watch, asked: Any, began: float, answer: dict[str, Any]) -> None:
    """What a request of the page came to."""
    action = asked.get("action") if isinstance(asked, dict) else None
    error = answer.get("error")
    code = error["code"] if error else None
    watch.done(action if isinstance(action, str) else "", time.perf_counter() - began, code)
    if "view" in answer.get("ok", {}):
        if action in ("step", "sample", "pick"):
            watch.added(1)
        elif action == "adopt":
            watch.added(len(asked["token_ids"]))


def watched(endpoint: Callable[..., Awaitable[Any]], watch: Watch) -> Callable[..., Awaitable[Any]]:
    """The endpoint, and what each of its calls came to."""

    @wraps(endpoint)
    async def told(*args: Any, **kwargs: Any) -> Any:
        name, began, code = endpoint.__name__, time.perf_counter(), None
        try:
            answer = await endpoint(*args, **kwargs)
        except BaseException as error:
            code = _code_of(error.__cause__ or error)
            raise
        finally:
            watch.done(name, time.perf_counter() - began, code)
        if name == "generate":
            watch.added(len(answer["tokens"]))
        return answer

    return told


def _code_of(error: BaseException) -> str:
    if isinstance(error, ParameterError):
        return "parameter"
    if isinstance(error, AskerGone):
        return GONE
    return str(getattr(error, "code", "unexpected"))
