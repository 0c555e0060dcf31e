"""A session goes out as plain data and comes back; nothing else comes in."""

import base64
import copy
import json
import math
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.decoding import Chain, chain_from_json
from explorer.session import Prompt, Session
from explorer.session.state import StateRefused, from_link, session_from, state_of, to_link

WORDS = ("a", "b", "c", "d", "é", "\n")
SCRIPT = {
    (0,): [0.1, 0.2, 0.3, 0.4, 0, 0],
    (0, 3): [0.6, 0.2, 0.1, 0.1, 0, 0],
    (0, 3, 0): [0.1, 0.1, 0.1, 0.6, 0.1, 0],
}


def a_backend(**more: Any) -> ScriptedBackend:
    return ScriptedBackend([w.encode() for w in WORDS], SCRIPT, **{"context_length": 9, **more})


BACKEND = a_backend()
START = Session.start("m", BACKEND, Prompt("a"))
V1, V2 = ({"step": f"mirostat_v{n}", "tau": 1.5, "eta": 0.3 / n} for n in (1, 2))
RULES: list[list[dict[str, Any]]] = [
    [],
    [{"step": "temperature", "temperature": 0.7}, {"step": "top_p", "p": 0.9}],
    [{"step": "logit_bias", "bias": {"1": None, "2": 0.1}}],
    [{"step": "xtc", "threshold": 0.1, "probability": 0.5}, V2],
    [V1, V2, {**V2, "tau": 1}],
    [{"step": "constraint", "regex": "[a-d]+"}],
]
CHAINS = [chain_from_json(rules) for rules in RULES]
KINDS = ["pick", "step", "sample", "sample", "rewind", "go_to", "mark", "delete"]
ACTIONS = st.tuples(st.sampled_from(KINDS), st.integers(0, 30), st.sampled_from(CHAINS))


def act(session: Session, action: str, number: int) -> Session:
    alive = [0, *(node.node_id for node in session.now.tree.nodes if not node.deleted)]
    node_id = alive[number % len(alive)]
    if action == "rewind":
        return session.rewind(number % (len(session.now.tree.path) + 1))
    if action == "go_to":
        return session.go_to(node_id)
    if action in ("mark", "delete") and node_id:
        delete = action == "delete"
        return session.delete(node_id) if delete else session.mark(node_id, name="枝", pinned=True)
    if len(session.prefix) == BACKEND.info.context_length:
        return session
    if action == "pick":
        return session.pick(BACKEND, number % len(WORDS))
    return session.step(BACKEND) if action == "step" else session.sample(BACKEND)


def run(actions: list[tuple[str, int, Chain]], seed: int) -> Session:
    session = Session.start("some name", BACKEND, Prompt("a"), seed=seed)
    for action, number, chain in actions:
        session = act(replace(session, chain=chain), action, number)
    return session


sessions = st.builds(run, st.lists(ACTIONS, max_size=14), st.integers(0, 2**64 - 1))


def rich() -> Session:
    """Every field has been used: a draw, Mirostat, a name, a pin, a deleted branch."""
    session = Session.start("some name", BACKEND, Prompt("a"), CHAINS[3], 5)
    session = session.sample(BACKEND).pick(BACKEND, 5).mark(1, name="é", pinned=True)
    session = session.rewind(0).step(BACKEND).step(BACKEND).delete(3).rewind(0)
    session = replace(session, chain=CHAINS[4]).sample(BACKEND)
    assert {node.how for node in session.now.tree.nodes} == {"sampled", "picked", "greedy"}
    return session


STATE: dict[str, Any] = state_of(rich(), BACKEND)


@settings(deadline=None)
@given(sessions)
def test_a_session_comes_back_exactly(session: Session) -> None:
    state = state_of(session, BACKEND)
    for data in (json.loads(json.dumps(state, allow_nan=False)), from_link(to_link(state))):
        back, differs = session_from(data, BACKEND)
        assert (back.now, back.chain, back.seed) == (session.now, session.chain, session.seed)
        assert back.chain_here == session.chain_here
        assert (back.past, back.future, differs) == ((), (), ())
        assert state_of(back, BACKEND) == state


def test_what_comes_back_goes_on_as_the_session_would() -> None:
    session = rich()
    back, _ = session_from(STATE, BACKEND)
    assert back.sample(BACKEND).now == session.sample(BACKEND).now
    assert back.chain_here != back.chain  # mu has moved


def test_an_impossible_token_and_one_of_unknown_probability() -> None:
    session = START.pick(BACKEND, 5)
    state = state_of(session, BACKEND)
    assert state["tree"]["nodes"][0]["logprob"] is None
    [node] = session_from(state, BACKEND)[0].now.tree.nodes
    assert node.choice is not None and node.choice.logprob == -math.inf
    del state["tree"]["nodes"][0]["logprob"]
    assert state_of(session_from(state, BACKEND)[0], BACKEND) == state


def test_the_state_says_where_it_comes_from() -> None:
    start = state_of(START, BACKEND)
    assert start["format"] == "next-token-explorer/1"
    assert set(start["model"].values()) == {"m", "scripted", None, 6}
    assert start["prompt"] == {"text": "a", "chat": False, "token_ids": [0]}
    assert start["fingerprint"] == {"top": [[3, -0.916], [2, -1.204], [1, -1.609], [0, -2.303]]}
    assert len(to_link(start)) < 500


def test_a_file_of_before_with_more_in_it_is_read_and_its_ids_are_taken_as_they_are() -> None:
    old = changed("prompt.text", "no such text here")
    del old["fingerprint"], old["model"]["name"]
    for node in old["tree"]["nodes"]:
        for key in ("name", "pinned", "deleted", "observed", "logprob"):
            node.pop(key, None)
    back, differs = session_from({**old, "path": [], "table": [{"rank": 1}], "text": "a"}, BACKEND)
    assert (back.prefix, back.now.model, differs) == (rich().prefix, "scripted", ())
    assert len(back.now.tree.children(0)) == 3


def changed(path: str, value: Any) -> dict[str, Any]:
    """The state with one value replaced: `tree.nodes.0.u`."""
    state: Any = copy.deepcopy(STATE)
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    inner = state
    for key in keys:
        inner = inner[key]
    inner[last] = value
    assert isinstance(state, dict)
    return state


def test_another_model_of_the_same_vocabulary_is_told() -> None:
    other = a_backend(model_id="other")
    other.info = replace(other.info, revision="r", dtype="float16")
    assert session_from(STATE, other)[1] == ("model", "revision", "dtype")
    assert session_from(state_of(rich(), other), other)[1] == ()


TOP = state_of(START, BACKEND)["fingerprint"]["top"]


@pytest.mark.parametrize(
    ("top", "differs"),
    [
        ([[i, logit + 0.049] for i, logit in TOP], ()),
        ([[i, logit + 0.06] for i, logit in TOP], ("numbers",)),
        ([[3 - i, logit] for i, logit in TOP], ("numbers",)),
        ([[5, TOP[0][1]], *TOP[1:]], ("numbers",)),
        (TOP[:-1], ("numbers",)),
        ([], ("numbers",)),
    ],
)
def test_other_numbers_are_told(top: list[Any], differs: tuple[str, ...]) -> None:
    state = {**state_of(START, BACKEND), "fingerprint": {"top": top}}
    assert session_from(state, BACKEND)[1] == differs


def test_ties_may_change_places() -> None:
    even = ScriptedBackend([b"a", b"b", b"c"])
    state = state_of(Session.start("m", even, Prompt("a")), even)
    state["fingerprint"]["top"].reverse()
    assert session_from(state, even)[1] == ()


def test_a_token_of_unknown_logit_is_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    few, all_six = a_backend(), BACKEND.next_distribution((0,))
    two = replace(all_six, token_ids=all_six.token_ids[:2], logits=all_six.logits[:2])
    monkeypatch.setattr(few, "next_distribution", lambda prefix: two)
    state = state_of(START, few)
    assert session_from(state, few)[1] == ()
    state["fingerprint"]["top"][1][0] = 0
    assert session_from(state, few)[1] == ("numbers",)


OBSERVED = "tree.nodes.0.observed"
CHOOSE = {"chain": None, "chain_after": None}
PLAIN = {"node_id": 1, "parent_id": 0, "token_id": 1, "how": "picked", "u": None, **CHOOSE}


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        ("format", 1, "format must be a text, got 1"),
        ("model", [1], "model must be an object, got '1 entries'"),
        ("model.vocab_size", 5, "model.vocab_size must be 6, as scripted has, got 5"),
        ("prompt.chat", 1, "prompt.chat must be true or false, got 1"),
        ("tree.nodes", {}, "tree.nodes must be a list, got '0 entries'"),
        ("prompt.token_ids", [0] * 10, "prompt.token_ids must be a list of 1 to 9 token ids"),
        ("prompt.text", "\ud800", "prompt.text must be a text without lone surrogates"),
        ("tree.nodes.3.parent_id", 7, "tree.nodes[3].parent_id must be a whole number from 0 to 3"),
        ("tree.nodes.3.node_id", 7, "tree.nodes[3].node_id must be a whole number from 4 to 4"),
        ("tree.nodes.3.deleted", False, "tree.nodes[3].deleted must be true, as its parent's is"),
        ("tree.nodes.0.name", "n" * 1001, "tree.nodes[0].name must be a text of at most 1000"),
        ("tree.nodes.0.how", ["x"], "tree.nodes[0].how must be one of picked, greedy, sampled, "),
        ("tree.nodes.0.u", None, "tree.nodes[0].u must be a number for a sampled token and null"),
        ("tree.nodes.0.u", 1, "tree.nodes[0].u must be below 1, got 1"),
        ("tree.nodes.0.u", math.nan, "tree.nodes[0].u must be a number from 0 to 1, got nan"),
        ("tree.nodes.0.chain", None, "tree.nodes[0].chain_after must be absent where no chain"),
        ("tree.nodes.0.logprob", 0.5, "tree.nodes[0].logprob must be a number from -1e+300 to 0"),
        (OBSERVED, [*STATE["tree"]["nodes"][0]["observed"]] * 2, "tree.nodes[0].observed must be"),
        (f"{OBSERVED}.0.error", None, "tree.nodes[0].observed[0].error must be null exactly where"),
        (f"{OBSERVED}.0.cut", math.inf, "tree.nodes[0].observed[0].cut must be a number from 0"),
        ("tree.nodes", [{**PLAIN, "observed": [1]}], "tree.nodes[0].observed must be absent where"),
        ("tree.cursor", 6, "tree.cursor must be a whole number from 0 to 5, got 6"),
        ("tree.cursor", 3, "tree.cursor must be a node that was not deleted, got 3"),
        ("chains.1", [{"step": "top_q"}], "chains[1][0].step must be one of"),
        ("chain", [{"step": "top_p", "p": 2}], "chain[0].p must be a number from 0 to 1, got 2"),
        ("seed", 2**64, "seed must be a whole number from 0 to 18446744073709551615"),
        pytest.param("seed", 10**5000, "seed must be a whole number from 0 to 1844", id="huge"),
        ("fingerprint.top.0", [1], "fingerprint.top[0] must be a token id and its logit"),
        ("fingerprint", {}, "fingerprint.top must be given, got None"),
    ],
)
def test_a_refusal_names_the_place(path: str, value: Any, detail: str) -> None:
    with pytest.raises(StateRefused) as caught:
        session_from(changed(path, value), BACKEND)
    assert (caught.value.code, list(caught.value.facts)) == ("state_damaged", ["detail"])
    assert str(caught.value) == caught.value.facts["detail"]
    assert str(caught.value).startswith(detail)
    assert len(str(caught.value)) < 500


def test_a_token_beyond_the_context_is_refused_unless_deleted() -> None:
    nodes = [{**PLAIN, "node_id": n, "parent_id": n - 1} for n in range(1, 10)]
    state = {**changed("tree.nodes", nodes), "chains": []}
    state["tree"]["cursor"] = 1
    with pytest.raises(StateRefused, match=r"tree.nodes\[8\] must be within the context of 9"):
        session_from(state, BACKEND)
    nodes[8]["deleted"] = True
    assert len(session_from(state, BACKEND)[0].now.tree.nodes) == 9


def nested(depth: int) -> Any:
    inner: Any = []
    for _ in range(depth):
        inner = [inner]
    return inner


def test_no_session_at_all() -> None:
    for data, code in (
        ({**STATE, "format": "next-token-explorer/2"}, "state_version"),
        (changed("tree.nodes", [PLAIN] * 20_001), "state_too_big"),
        ({**STATE, "more": nested(20_000)}, "state_damaged"),
        ([STATE], "state_damaged"),
        (None, "state_damaged"),
    ):
        with pytest.raises(StateRefused) as caught:
            session_from(data, BACKEND)
        assert caught.value.code == code


HOSTILE = st.sampled_from(
    [None, True, -1, 0, 1, 3, 2**31, 10**5000, -0.0, 0.5, math.nan, math.inf, 1e308, "", "x", "1"]
) | st.sampled_from(["\ud800", "x" * 5000, [], {}, [[]], {"step": {}}, [None], (1,), nested(40)])


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a state."""
    found = [path] if path else []
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            found += places(value, (*path, key))
    return found


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_damaged_data_is_refused_or_is_a_session(data: st.DataObject) -> None:
    state = copy.deepcopy(STATE)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(state)))
        inner: Any = state
        for key in path:
            inner = inner[key]
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            del inner[last]
        else:
            inner[last] = copy.deepcopy(data.draw(HOSTILE))
    try:
        session, _ = session_from(state, BACKEND)
    except StateRefused:
        return
    again = json.loads(json.dumps(state_of(session, BACKEND), allow_nan=False))
    assert session_from(again, BACKEND) == (session, ())


def packed(raw: bytes, more: bytes = b"") -> str:
    return base64.urlsafe_b64encode(zlib.compress(raw) + more).decode().rstrip("=")


LINK = to_link(STATE)
HALF = LINK[: len(LINK) // 2]
BROKEN: list[Any] = [7, "", "1.", "1.A", "1.AAAA", LINK[2:], LINK[:-20], HALF + "AAAA" + HALF[2:]]
BROKEN += [LINK + "\n", LINK + "é", LINK.replace(".", ".+"), "1." + packed(b"[" * 1_000_000)]
BROKEN += ["1." + packed(raw) for raw in (b"", b"[1", b"[NaN]", b"9" * 5000, b"\xff")]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_link_is_refused(text: Any) -> None:
    with pytest.raises(StateRefused) as caught:
        from_link(text)
    assert caught.value.code == "state_damaged"


def test_a_later_link_a_bomb_and_garbage_are_refused() -> None:
    with pytest.raises(StateRefused, match=r"a link must begin with '1\.'") as caught:
        from_link("2." + LINK[2:])
    assert caught.value.code == "state_version"
    with pytest.raises(StateRefused, match="more than 20000000 bytes") as caught:
        from_link("1." + packed(b" " * (20_000_001)))
    assert caught.value.code == "state_too_big"
    with pytest.raises(StateRefused, match="something follows its end"):
        from_link("1." + packed(b"[]", b"more"))


@given(st.text() | st.binary().map(packed).map("1.".__add__))
def test_any_text_is_a_link_or_is_refused(text: str) -> None:
    try:
        from_link(text)
    except StateRefused as error:
        assert error.facts["detail"]


def test_a_name_that_is_no_text_travels_and_is_refused_on_arrival() -> None:
    state = from_link(to_link(changed("tree.nodes.0.name", "\ud800")))
    with pytest.raises(StateRefused, match="name must be a text without lone surrogates"):
        session_from(state, BACKEND)
