"""What Gradio needs to know of a call, checked before it: it answers any other with a bare 500."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from explorer.decoding.parameters import ParameterError, check_count, not_one_of
from explorer.ui import arguments

MAX_SESSION_HASH = 100  # characters; Gradio's own have about ten

Parameters = Mapping[str, Sequence[str]]  # an endpoint's name -> its arguments, in order


PAGE = "/gradio_api/component_server"  # whatever the page asks for


def check_envelope(
    path: str, body: bytes, endpoints: Parameters, component_id: int
) -> Mapping[str, Any]:
    """What a call says, on paths that take calls.

    `ParameterError` for one that names no function of ours, or not what that takes.
    """
    name = path.rsplit("/", 1)[-1]
    call: Mapping[str, Any] = {}
    if path.startswith("/gradio_api/call/"):
        if name not in endpoints:
            raise not_one_of("the endpoint", arguments.short(name), tuple(endpoints))
        call = _object(body)
        if path.startswith("/gradio_api/call/v2/"):
            for given in call:
                if given not in (*endpoints[name], "session_hash"):
                    raise not_one_of("an argument", arguments.short(given), endpoints[name])
        else:
            _check_session(call, needed=False)
            _check_data(call, endpoints[name])
    elif path == "/gradio_api/queue/join":
        call = _object(body)
        _check_session(call, needed=True)
        place = call.get("fn_index")
        check_count("fn_index", arguments.short(place), 0, len(endpoints) - 1)
        _check_data(call, list(endpoints.values())[int(place or 0)])
    elif path == PAGE:
        call = _object(body)
        _check_session(call, needed=True)
        check_count("component_id", arguments.short(call.get("component_id")), 0)
        expected = {"component_id": component_id, "fn_name": "act"}
        for field, value in expected.items():
            if call.get(field) != value:
                raise ParameterError(field, arguments.short(call.get(field)), repr(value))
        if "data" not in call:
            raise ParameterError("data", None, "given")
    elif path == "/gradio_api/cancel":
        call = _object(body)
        _check_session(call, needed=True)
        check_count("fn_index", arguments.short(call.get("fn_index")), 0, len(endpoints) - 1)
        arguments.text_argument("event_id", call.get("event_id"))
    return call


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ParameterError("the body", arguments.short(str(error)), "JSON") from error
    if not isinstance(call, dict):
        raise ParameterError("the body", arguments.short(call), "an object")
    return call


def _check_session(call: Mapping[str, Any], *, needed: bool) -> None:
    session = call.get("session_hash")
    if session is None and not needed:
        return
    if not isinstance(session, str) or not 0 < len(session) <= MAX_SESSION_HASH:
        allowed = f"a text of 1 to {MAX_SESSION_HASH} characters"
        raise ParameterError("session_hash", arguments.short(session), allowed)


def _check_data(call: Mapping[str, Any], names: Sequence[str]) -> None:
    data = call.get("data")
    if not isinstance(data, list) or len(data) != len(names):
        allowed = f"a list of {len(names)} values: {', '.join(names)}"
        raise ParameterError("data", arguments.short(data), allowed)
