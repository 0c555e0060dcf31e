"""What nobody expected: a number for the user, and under it in the log where it happened.

The log names kinds of errors and lines of code. An error's own words may hold what somebody
typed, so they are written only where whoever runs the app asks for it.
"""

import logging
import secrets
import traceback

from explorer.ui.messages import Refused

log = logging.getLogger("explorer")


def reported(error: BaseException, *, with_prompts: bool) -> Refused:
    """Write the error down; what the user is told of it."""
    number = secrets.token_hex(4)
    if with_prompts:
        log.error("failure %s", number, exc_info=error)
    else:
        log.error("failure %s: %s", number, "\ncaused by ".join(_places(error)))
    return Refused("unexpected", number=number)


def _places(error: BaseException | None) -> list[str]:
    places = []
    while error is not None:
        frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        places.append(f"{type(error).__name__}\n{frames}")
        error = error.__cause__ or error.__context__
    return places
