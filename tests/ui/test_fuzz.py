"""Nothing that can be sent is answered by anything but a result or a named error.

What is sent are sound requests, calls, files and links with some of their parts replaced,
doubled, swapped or left out. `EXPLORER_FUZZ=20` tries twenty times as many.
"""

import copy
import inspect
import json
import os
import tracemalloc
import zlib
from base64 import urlsafe_b64encode
from typing import Any

import gradio as gr
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.session import StateRefused, from_link, session_from, state_of
from explorer.session.state import MAX_BYTES
from explorer.settings import Hosting
from explorer.ui import build_ui
from explorer.ui.actions import Actions
from explorer.ui.api import Api, named_errors
from explorer.ui.messages import texts
from explorer.ui.store import SessionStore
from tests.ui.asking import FakeModels
from tests.ui.hostile import KEY, VALUES, bent
from tests.ui.sound import ASK, CALLS, REQUESTS

TIMES = int(os.environ.get("EXPLORER_FUZZ", "1"))
WORDS = [b"a", b" b", b"\xe3\x81", b"\x82", b"</s>"]
SCRIPT = {(0,): [0.4, 0.3, 0.2, 0.1, 0.0]}
SMALL = ScriptedBackend(
    WORDS, SCRIPT, special=[4], end_token_ids=(4,), context_length=8, model_id="small"
)
CHATTY = ScriptedBackend(WORDS, bos_token_id=4, chat=True, model_id="chatty")
MODELS = FakeModels(small=SMALL, chatty=CHATTY)


def many(count: int) -> settings:
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        database=None,
        derandomize=TIMES == 1,  # always the same ones, unless somebody goes looking
        suppress_health_check=list(HealthCheck),
    )


def check_answer(answer: dict[str, Any]) -> None:
    """A result or an error with a text of its own in the interface, fit to be sent."""
    assert answer.keys() in ({"ok"}, {"error"})
    json.dumps(answer, allow_nan=False)
    orjson.dumps(answer)
    if "error" in answer:
        error = answer["error"]
        assert f"error_{error['code']}" in texts("ja"), error
        assert 0 < len(error["message"]) < 1000


def begun() -> Actions:
    actions = Actions(MODELS, SessionStore())
    assert "ok" in actions.act(ASK)
    return actions


REQUEST = st.one_of(
    st.sampled_from(REQUESTS).map(copy.deepcopy),
    st.sampled_from(REQUESTS).flatmap(bent),
    VALUES,
)


@many(150)
@given(st.lists(REQUEST, min_size=1, max_size=12))
def test_any_requests_of_the_page(requests: list[Any]) -> None:
    actions = begun()
    for request in requests:
        check_answer(actions.act(request))
    reopened = actions.act(copy.deepcopy({**ASK, "action": "open"}))
    assert "view" in reopened["ok"], "the session works whatever came before"


def named(call: Any) -> Any:
    try:
        return call()
    except gr.Error as error:
        assert 0 < len(error.message) < 1000 and "Traceback" not in error.message
        return None


@many(250)
@given(
    st.sampled_from(sorted(CALLS)).flatmap(lambda name: st.tuples(st.just(name), bent(CALLS[name])))
)
def test_any_call_of_an_endpoint(call: tuple[str, Any]) -> None:
    name, given_ = call
    endpoint = getattr(Api(MODELS), name)
    parameters = inspect.signature(endpoint).parameters
    values = given_ if isinstance(given_, dict) else {}
    arguments = {key: value for key, value in values.items() if key in parameters}
    answer = named(lambda: named_errors(endpoint, Hosting(log_prompts=True))(**arguments))
    if answer is not None:
        orjson.dumps(json.loads(json.dumps(answer, allow_nan=False)))


def schema_strategy(schema: Any) -> st.SearchStrategy[Any]:
    """Values that Gradio's description of a parameter allows."""
    if "oneOf" in schema or "anyOf" in schema:
        return st.one_of([schema_strategy(one) for one in schema.get("oneOf") or schema["anyOf"]])
    kind = schema.get("type")
    if kind == "array":
        return st.lists(schema_strategy(schema.get("items", {})), max_size=4)
    if kind == "object":
        inner = schema.get("additionalProperties")
        values = schema_strategy(inner) if isinstance(inner, dict) else VALUES
        return st.dictionaries(st.sampled_from(["role", "content", "step", "p", "x"]), values)
    simple = {
        "null": st.none(),
        "string": st.text(max_size=8) | st.sampled_from(["a b", "top_p", "small"]),
        "integer": st.integers(-2, 6) | st.integers(),
        "number": st.floats(),
        "boolean": st.booleans(),
    }
    return simple.get(kind, VALUES)


@pytest.fixture(scope="module")
def described() -> Any:
    """What `/gradio_api/info` says of the endpoints."""
    return build_ui(MODELS).get_api_info()["named_endpoints"]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_any_call_that_gradios_description_allows(described: Any, name: str) -> None:
    """What Schemathesis would send, but with the answer: Gradio gives that to a second request."""
    endpoint = getattr(Api(MODELS), name)
    values = {
        parameter["parameter_name"]: schema_strategy(parameter["type"])
        for parameter in described[f"/{name}"]["parameters"]
    }
    assert values.keys() == inspect.signature(endpoint).parameters.keys()

    @many(40)
    @given(st.fixed_dictionaries({}, optional=values))
    def call(arguments: dict[str, Any]) -> None:
        named(lambda: named_errors(endpoint, Hosting(log_prompts=True))(**arguments))

    call()


def saved() -> dict[str, Any]:
    """A file with branches, draws, Mirostat's memory, names and a deleted branch."""
    actions = begun()
    for request in (
        {"action": "settings", "chain": "mirostat"},  # short: most of the file is tree
        *({"action": action} for action in ("sample", "sample", "step")),
        {"action": "go_to", "node_id": 1},
        *({"action": "pick", "token_id": token_id} for token_id in (1, 3)),
        {"action": "mark", "node_id": 2, "name": "here", "pinned": True},
        {"action": "delete", "node_id": 4},
        {"action": "go_to", "node_id": 2},
    ):
        assert "ok" in actions.act({"key": KEY, **request}), request
    session = actions._store.slot(KEY).session
    assert session is not None
    return json.loads(json.dumps(state_of(session, SMALL)))


SAVED = saved()


@many(250)
@given(bent(SAVED))
def test_any_session_file(state: Any) -> None:
    """A session that works, or a refusal that says why: never half of one."""
    try:
        session, _ = session_from(copy.deepcopy(state), SMALL)
    except StateRefused as refusal:
        assert 0 < len(str(refusal)) < 1000
    else:
        again, differs = session_from(json.loads(json.dumps(state_of(session, SMALL))), SMALL)
        assert again == session and differs == ()
    actions = begun()
    text = json.dumps(state)
    for asked in ({"action": "load", "file": text}, {"action": "sample"}, {"action": "json"}):
        check_answer(actions.act({"key": KEY, **asked}))
    assert "ok" in actions.act({"key": KEY, "action": "open"}), "the session works in either case"


def linked(raw: bytes) -> str:
    return "1." + urlsafe_b64encode(zlib.compress(raw, 9)).decode().rstrip("=")


LINK = linked(json.dumps(SAVED).encode())


@st.composite
def broken_links(draw: st.DrawFn) -> str:
    link = list(LINK)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(link) - 1))
        link[place] = draw(st.characters(max_codepoint=0x2FF) | st.sampled_from("Aa0_-.="))
    return "".join(link)[: draw(st.integers(0, len(link)))] + draw(st.text(max_size=5))


@many(150)
@given(st.one_of(broken_links(), st.binary().map(linked), st.text()))
def test_any_link(link: str) -> None:
    actions = begun()
    check_answer(actions.act({"action": "load", "key": KEY, "link": link}))
    assert "ok" in actions.act({"action": "open", "key": KEY})


@pytest.mark.parametrize("inner", [b"[", b'"'])
def test_a_link_that_unpacks_to_gigabytes_is_not_unpacked(inner: bytes) -> None:
    """128 MB in 170 kB, which is as long as a link may be."""
    packer = zlib.compressobj(9)
    chunk = inner * 2**20
    packed = b"".join(packer.compress(chunk) for _ in range(128)) + packer.flush()
    link = "1." + urlsafe_b64encode(packed).decode().rstrip("=")
    tracemalloc.start()
    try:
        with pytest.raises(StateRefused) as refusal:
            from_link(link)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BYTES + 4 * len(link)
    finally:
        tracemalloc.stop()
    assert refusal.value.code == "state_too_big"
