"""One model server over HTTP: time-outs, retries with back-off, and its failures in words.

What a failure says names neither the key nor the address, whatever the server sent back.
"""

import json
import logging
import math
import random
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from explorer.backends.base import RemoteFailed

# The client and the HTTP library below it would write the server's address into the log.
for _name in ("openai", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)

CONNECT_S = 5.0
FIRST_WAIT_S = 0.5  # doubled with each further attempt
ATTEMPTS = 4
DETAIL = 300  # characters of the server's own words

# The client then leaves the body to be read here, against a clock of our own.
STREAMED = {"X-Stainless-Raw-Response": "stream"}


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """Where a model server is and how to be let in; how long to wait for it."""

    url: str = field(repr=False)  # with or without the /v1 of OpenAI's API
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0  # for one whole answer
    patience_s: float = 15.0  # for all waiting between attempts


class Server:
    """Asks for JSON and gets JSON, or raises `RemoteFailed`. Safe to share among threads.

    It keeps no state between requests, so a server that comes back is simply there again.
    """

    def __init__(self, access: ServerAccess) -> None:
        self.root = access.url.rstrip("/").removesuffix("/v1")
        self._access = access
        self._client = openai.OpenAI(
            base_url=self.root,
            api_key=access.key or "none",  # the client wants one; servers without a key ignore it
            max_retries=0,  # they are made here, where their time is bounded
            timeout=openai.Timeout(access.timeout_s, connect=min(CONNECT_S, access.timeout_s)),
        )

    def get(self, path: str) -> Any:
        return self._ask(path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask(path, body)

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        patience = self._access.patience_s
        wait = FIRST_WAIT_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _read(self._once(path, body))
            except openai.APIStatusError as error:
                asked = _retry_after(error)
                pause = wait * random.uniform(0.5, 1.0) if asked is None else asked
                passing = error.status_code in (408, 409, 429) or error.status_code >= 500
                if not passing or attempt == ATTEMPTS or pause > patience:
                    raise self._refusal(error, path, body, attempt, asked or wait) from None
            except openai.APITimeoutError:
                raise self._timed_out() from None  # asking a slow server again makes it slower
            except openai.APIConnectionError as error:
                pause = wait * random.uniform(0.5, 1.0)
                if attempt == ATTEMPTS or pause > patience:
                    raise self._disconnected(error, attempt) from None
            time.sleep(pause)  # in the asker's own thread, and within `patience_s` in all
            patience -= pause
            wait *= 2
        raise AssertionError("the last attempt returns or raises")

    def _once(self, path: str, body: dict[str, Any] | None) -> bytes:
        """The whole answer; the time-out is for all of it, not for each piece of it."""
        start = time.monotonic()
        options: Any = {"headers": STREAMED}
        response: Any = (
            self._client.get(path, cast_to=bytes, options=options)
            if body is None
            else self._client.post(path, cast_to=bytes, body=body, options=options)
        )
        pieces = []
        try:
            for piece in response.iter_bytes():
                pieces.append(piece)
                if time.monotonic() - start > self._access.timeout_s:
                    raise self._timed_out()
        except RemoteFailed:
            raise
        except Exception as error:
            # While reading, the errors are those of the HTTP library below the client.
            if "Timeout" in type(error).__name__:
                raise openai.APITimeoutError(response.http_request) from error
            raise openai.APIConnectionError(request=response.http_request) from error
        finally:
            response.close()
        return b"".join(pieces)

    # failures in words

    def _timed_out(self) -> RemoteFailed:
        seconds = self._access.timeout_s
        return RemoteFailed(
            "timed_out", f"the model server did not answer within {seconds:g} s", seconds=seconds
        )

    def _disconnected(self, error: openai.APIConnectionError, attempts: int) -> RemoteFailed:
        causes = set()
        cause: BaseException | None = error
        while cause is not None:
            causes.add(type(cause).__name__)
            cause = cause.__cause__ or cause.__context__
        if causes & {"RemoteProtocolError", "ReadError", "WriteError", "DecodingError"}:
            return RemoteFailed(
                "cut_off",
                f"the model server broke off in the middle of its answer, {attempts} times",
                attempts=attempts,
            )
        return RemoteFailed(
            "unreachable",
            f"the model server can't be reached; tried {attempts} times",
            attempts=attempts,
        )

    def _refusal(
        self,
        error: openai.APIStatusError,
        path: str,
        body: dict[str, Any] | None,
        attempts: int,
        wait: float,
    ) -> RemoteFailed:
        status, detail = error.status_code, self._clean(_message(error))
        if status in (401, 403):  # what the server says may quote the key
            return RemoteFailed(
                "refused_key", f"the model server refuses the key (HTTP {status})", status=status
            )
        if status == 404 and body is not None and "model" in body:
            model = body["model"]
            return RemoteFailed(
                "no_such_model", f"the model server has no model {model!r}", model=model
            )
        if status in (404, 405, 501):
            return RemoteFailed("wrong_engine", f"the model server has no {path}", path=path)
        if status in (429, 503):
            seconds = math.ceil(wait)
            return RemoteFailed(
                "busy",
                f"the model server is too busy (HTTP {status}, asked {attempts} times); "
                f"try again in {seconds} s: {detail}",
                status=status,
                attempts=attempts,
                seconds=seconds,
            )
        if status >= 500:
            return RemoteFailed(
                "server_error",
                f"the model server failed (HTTP {status}): {detail}",
                status=status,
                detail=detail,
            )
        return RemoteFailed(
            "rejected",
            f"the model server rejects the request (HTTP {status}): {detail}",
            status=status,
            detail=detail,
        )

    def _clean(self, text: str) -> str:
        """The server's words without the key and the address, in case it quotes them."""
        for secret in (self._access.key, self.root, urlsplit(self.root).netloc):
            if secret:
                text = text.replace(secret, "…")
        return " ".join(text.split())[:DETAIL]


def _read(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        raise not_understood("it is not JSON") from None


def not_understood(detail: str) -> RemoteFailed:
    return RemoteFailed(
        "not_understood", f"can't make sense of the model server's answer: {detail}", detail=detail
    )


def served_model(answer: Any, model: str | None) -> dict[str, Any]:
    """The model asked for, or the first one, of those that a server lists."""
    try:
        entries = {str(entry["id"]): dict(entry) for entry in answer["data"]}
    except (KeyError, TypeError, ValueError):
        raise not_understood("it lists no models") from None
    if not entries:
        raise not_understood("it lists no models")
    if model is None:
        return next(iter(entries.values()))
    if model not in entries:
        raise RemoteFailed("no_such_model", f"the model server has no model {model!r}", model=model)
    return entries[model]


def choices_of(answer: Any, count: int) -> list[Any]:
    """The answers to `count` prompts, in their order."""
    try:
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
    except (KeyError, TypeError, ValueError):
        raise not_understood("it has no choices") from None
    if len(choices) != count:
        raise not_understood(f"{len(choices)} answers to {count} prompts")
    return choices


def _message(error: openai.APIStatusError) -> str:
    """What the server says went wrong, from the shapes that servers use."""
    said = error.body
    if isinstance(said, dict):
        said = said.get("message") or said.get("detail") or said.get("error") or said
    return str(said or type(error).__name__)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait; a date or nonsense counts as no wish."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None
