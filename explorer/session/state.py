"""A session as plain data that travels, in a file or in a link, and back."""

import base64
import json
import math
import re
import sys
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn, get_args

from explorer.backends.base import Backend, ModelInfo
from explorer.decoding import (
    Chain,
    Distribution,
    Observation,
    ParameterError,
    StatefulStep,
    chain_from_json,
    chain_to_json,
)
from explorer.decoding.codec import MAX_STEPS
from explorer.decoding.mirostat import WIDEST
from explorer.decoding.parameters import MAX_TOKEN_ID, check_count, check_real, not_one_of
from explorer.decoding.randomness import MAX_SEED
from explorer.session.session import Moment, Prompt, Session
from explorer.session.tree import ROOT, Choice, How, Node, Tree

FORMAT = "next-token-explorer/1"
LINK = "1."  # what a link of this format begins with

MAX_LINK = 8000  # characters that a link may have to survive mails and chats; for the page to say
MAX_BYTES = 20_000_000  # of JSON in a link
MAX_NODES = 20_000
MAX_CHAINS = 2 * MAX_NODES  # before and after each token
MAX_NAME = 1000  # characters
MAX_TEXT = 2_000_000  # characters of a prompt, as everywhere
MAX_DEPTH = 32  # of lists and objects in each other; a state has seven
MAX_DETAIL = 400  # characters of a refusal

TOP = 8  # logits in a fingerprint
SAME = 0.05  # how far they may lie apart: another machine rounds otherwise
LARGEST = sys.float_info.max
LEAST_LOGPROB = -1e300  # the sum over all nodes stays finite

Code = Literal["state_damaged", "state_version", "state_too_big"]


class StateRefused(Exception):
    """Data that is no session of this model; `code` and `facts` say why, `str()` in English."""

    def __init__(self, code: Code, detail: str) -> None:
        detail = detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL] + "…"
        super().__init__(detail)
        self.code = code
        self.facts: dict[str, object] = {"detail": detail}


def state_of(session: Session, backend: Backend) -> dict[str, Any]:
    """All that makes this session but its undo history, ready for JSON.

    Nodes name the chain they were chosen under, and the one after them, by its place in
    `chains`. A node's `logprob` is absent where it is unknown and null for probability 0.
    """
    now, info = session.now, backend.info
    chains: dict[Chain, int] = {}
    nodes = [_node_data(node, chains) for node in now.tree.nodes]
    top = _top(backend.next_distribution(session.prefix))
    return {
        "format": FORMAT,
        "model": {
            "name": now.model,
            "model_id": info.model_id,
            "revision": info.revision,
            "dtype": info.dtype,
            "vocab_size": info.vocab_size,
        },
        "prompt": {
            "text": now.prompt.text,
            "chat": now.prompt.chat,
            "token_ids": list(now.tree.prompt),
        },
        "tree": {"nodes": nodes, "cursor": now.tree.cursor},
        "chains": [chain_to_json(chain) for chain in chains],
        "chain": chain_to_json(session.chain),
        "seed": session.seed,
        "fingerprint": {"top": [[token_id, round(logit, 3)] for token_id, logit in top]},
    }


def _node_data(node: Node, chains: dict[Chain, int]) -> dict[str, Any]:
    choice = node.choice
    data: dict[str, Any] = {
        "node_id": node.node_id,
        "parent_id": node.parent_id,
        "token_id": node.token_id,
        "how": node.how,
        "u": node.u,
        "chain": None if choice is None else chains.setdefault(choice.chain, len(chains)),
        "chain_after": None if choice is None else chains.setdefault(choice.after, len(chains)),
        "name": node.name,
        "pinned": node.pinned,
        "deleted": node.deleted,
    }
    if choice is not None and choice.observed:
        data["observed"] = [asdict(observation) for observation in choice.observed]
    if choice is not None and choice.logprob is not None:
        data["logprob"] = None if choice.logprob == -math.inf else choice.logprob
    return data


def _top(distribution: Distribution) -> list[tuple[int, float]]:
    """The most probable tokens that are possible, and their logits."""
    head = distribution.head(TOP)
    ids, logits = head.token_ids[:TOP].tolist(), head.logits[:TOP].tolist()
    return [(i, logit) for i, logit in zip(ids, logits, strict=True) if math.isfinite(logit)]


@dataclass(frozen=True, slots=True)
class Part:
    """A value in a state, and its place there, so that a refusal can name it.

    >>> Part({"nodes": [{"u": 2}]}, "tree").at("nodes").items(9)[0].at("u").where
    'tree.nodes[0].u'
    """

    value: Any
    where: str = ""

    def refuse(self, allowed: str) -> NoReturn:
        raise ParameterError(self.where or "the state", _shown(self.value), allowed)

    def at(self, key: str, *default: Any) -> "Part":
        """One field of an object; without a default it must be there."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        part = Part(self.value.get(key, *default), f"{self.where}.{key}".lstrip("."))
        if key not in self.value and not default:
            part.refuse("given")
        return part

    def items(self, most: int) -> "list[Part]":
        if not isinstance(self.value, list):
            self.refuse("a list")
        if len(self.value) > most:
            detail = f"{self.where} must have at most {most} entries, got {len(self.value)}"
            raise StateRefused("state_too_big", detail)
        return [Part(value, f"{self.where}[{n}]") for n, value in enumerate(self.value)]

    def count(self, low: int, high: int) -> int:
        check_count(self.where, _shown(self.value), low, high)
        assert isinstance(self.value, int)
        return self.value

    def real(self, low: float, high: float) -> float:
        check_real(self.where, _shown(self.value), low, high)
        return float(self.value)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def text(self, most: int, *, or_null: bool = False) -> str:
        if or_null and self.value is None:
            return ""
        if not isinstance(self.value, str):
            self.refuse("a text")
        if len(self.value) > most:
            self.refuse(f"a text of at most {most} characters")
        try:
            self.value.encode()
        except UnicodeEncodeError:
            self.refuse("a text without lone surrogates")
        return self.value

    def chain(self) -> Chain:
        try:
            return chain_from_json(self.value)
        except ParameterError as error:
            raise error.renamed(self.where + error.parameter.removeprefix("chain")) from error


def _shown(value: Any) -> Any:
    """A value small enough to stand in a message; what it stands for is refused all the same."""
    if isinstance(value, dict | list | tuple):
        return f"{len(value)} entries"
    return value[:MAX_DETAIL] if isinstance(value, str) else value


def session_from(data: Any, backend: Backend) -> tuple[Session, tuple[str, ...]]:
    """The session that plain data describes, and what of the model is not as it was then.

    That is any of "model", "revision", "dtype", and "numbers" where the logits at the cursor
    differ: the tokens are the same, but another draw would not be. Raises `StateRefused` for
    data that is no session, and what the backend raises when it is asked for those logits.
    """
    try:
        return _read(data, backend)
    except ParameterError as error:
        raise StateRefused("state_damaged", str(error)) from error


def _read(data: Any, backend: Backend) -> tuple[Session, tuple[str, ...]]:
    _check_depth(data)
    state, info = Part(data), backend.info
    version = state.at("format").text(MAX_NAME)
    if version != FORMAT:
        raise StateRefused("state_version", f"format must be {FORMAT!r}, got {_shown(version)!r}")
    model = state.at("model")
    known = {
        "model": (model.at("model_id").text(MAX_NAME), info.model_id),
        "revision": (model.at("revision", "").text(MAX_NAME, or_null=True), info.revision or ""),
        "dtype": (model.at("dtype", "").text(MAX_NAME, or_null=True), info.dtype or ""),
    }
    name = model.at("name", known["model"][0]).text(MAX_NAME)
    vocabulary = model.at("vocab_size")
    if vocabulary.count(0, MAX_TOKEN_ID) != info.vocab_size:
        vocabulary.refuse(f"{info.vocab_size}, as {info.model_id} has")
    prompt, token_ids = _prompt(state.at("prompt"), info)
    tree = _tree(state, token_ids, info)
    seed = state.at("seed").count(0, MAX_SEED)
    session = Session(Moment(name, prompt, tree), state.at("chain").chain(), seed)
    top = _fingerprint(state.at("fingerprint", None), info)
    differs = [code for code, (then, now) in known.items() if then != now]
    if top is not None and _numbers_differ(top, backend.next_distribution(session.prefix)):
        differs.append("numbers")
    return session, tuple(differs)


def _check_depth(data: Any) -> None:
    """What is nested too deeply can't even be shown."""
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise StateRefused("state_damaged", f"the state is nested over {MAX_DEPTH} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _prompt(part: Part, info: ModelInfo) -> tuple[Prompt, tuple[int, ...]]:
    """The text is only for showing: the ids are taken as they are, never made from it."""
    token_ids = part.at("token_ids")
    ids = tuple(one.count(0, info.vocab_size - 1) for one in token_ids.items(MAX_TEXT))
    if not 0 < len(ids) <= info.context_length:
        token_ids.refuse(f"a list of 1 to {info.context_length} token ids")
    return Prompt(part.at("text").text(MAX_TEXT), part.at("chat").flag()), ids


def _tree(state: Part, prompt: tuple[int, ...], info: ModelInfo) -> Tree:
    chains = [part.chain() for part in state.at("chains").items(MAX_CHAINS)]
    nodes: list[Node] = []
    lengths = [len(prompt)]  # of the prefix at each node, the prompt first
    for part in state.at("tree").at("nodes").items(MAX_NODES):
        node = _node(part, len(nodes), info, chains)
        lengths.append(lengths[node.parent_id] + 1)
        if not node.deleted:
            if node.parent_id != ROOT and nodes[node.parent_id - 1].deleted:
                part.at("deleted", False).refuse("true, as its parent's is")
            if lengths[-1] > info.context_length:
                allowed = f"within the context of {info.context_length} tokens"
                raise ParameterError(part.where, f"token {lengths[-1]}", allowed)
        nodes.append(node)
    where = state.at("tree").at("cursor")
    cursor = where.count(ROOT, len(nodes))
    if cursor != ROOT and nodes[cursor - 1].deleted:
        where.refuse("a node that was not deleted")
    return Tree(prompt, tuple(nodes), cursor)


def _node(part: Part, position: int, info: ModelInfo, chains: list[Chain]) -> Node:
    """The node at this position of the list: parents stand before their children."""
    how = part.at("how").value
    if how not in get_args(How):
        raise not_one_of(f"{part.where}.how", _shown(how), get_args(How))
    u = part.at("u")
    if (u.value is None) != (how != "sampled"):
        u.refuse("a number for a sampled token and null for any other")
    if u.value is not None and u.real(0, 1) == 1:
        u.refuse("below 1")
    return Node(
        node_id=part.at("node_id").count(position + 1, position + 1),
        parent_id=part.at("parent_id").count(0, position),
        token_id=part.at("token_id").count(0, info.vocab_size - 1),
        how=how,
        u=None if u.value is None else u.real(0, 1),
        choice=_choice(part, chains),
        name=part.at("name", "").text(MAX_NAME),
        pinned=part.at("pinned", False).flag(),
        deleted=part.at("deleted", False).flag(),
    )


def _choice(part: Part, chains: list[Chain]) -> Choice | None:
    before, after = part.at("chain"), part.at("chain_after")
    observed, logprob = part.at("observed", []), part.at("logprob", 0.0)
    if before.value is None:
        for other, empty in ((after, None), (observed, []), (logprob, 0.0)):
            if other.value != empty:
                other.refuse("absent where no chain is given")
        return None
    chain = chains[before.count(0, len(chains) - 1)]
    stateful = sum(isinstance(step, StatefulStep) for step in chain)
    seen = tuple(_observation(one) for one in observed.items(MAX_STEPS))
    if len(seen) not in (0, stateful):
        observed.refuse(f"{stateful} entries, one for each step that remembers, or absent")
    known: float | None = -math.inf if logprob.value is None else logprob.real(LEAST_LOGPROB, 0)
    if "logprob" not in part.value:
        known = None
    return Choice(chain, chains[after.count(0, len(chains) - 1)], seen, known)


def _observation(part: Part) -> Observation:
    surprise, error = part.at("surprise"), part.at("error")
    if (surprise.value is None) != (error.value is None):
        error.refuse("null exactly where surprise is")
    unseen = surprise.value is None
    return Observation(
        tau=part.at("tau").real(0, 100),
        mu=part.at("mu").real(-WIDEST, WIDEST),
        surprise=None if unseen else surprise.real(-LARGEST, LARGEST),
        error=None if unseen else error.real(-LARGEST, LARGEST),
        kept=part.at("kept").count(1, MAX_TOKEN_ID + 1),
        cut=part.at("cut").real(0, MAX_TOKEN_ID + 1),
        next_mu=part.at("next_mu").real(-WIDEST, WIDEST),
    )


def _fingerprint(part: Part, info: ModelInfo) -> list[tuple[int, float]] | None:
    """The logits then; none in a file that was written before they were kept."""
    if part.value is None:
        return None
    top = []
    for entry in part.at("top").items(TOP):
        pair = entry.items(2)
        if len(pair) != 2:
            entry.refuse("a token id and its logit")
        top.append((pair[0].count(0, info.vocab_size - 1), pair[1].real(-LARGEST, LARGEST)))
    return top


def _numbers_differ(top: list[tuple[int, float]], distribution: Distribution) -> bool:
    """Whether a logit differs, by its token or by its rank; all but ties may change places."""
    here = [logit for _, logit in _top(distribution)]
    found = [distribution.logit_of(token_id) for token_id, _ in top]
    if len(here) != len(top) or any(map(math.isnan, found)):  # NaN: not known here
        return True
    then = [logit for _, logit in top]
    return any(abs(one - other) > SAME for one, other in zip(found + here, then * 2, strict=True))


def to_link(state: dict[str, Any]) -> str:
    """The state as text for a URL; it may be longer than `MAX_LINK`.

    >>> to_link({"seed": 7})[:2]
    '1.'
    """
    said = json.dumps(state, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    packed = zlib.compress(said.encode("utf-8", "surrogatepass"), 9)
    return LINK + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def from_link(text: str, most_bytes: int = MAX_BYTES) -> Any:
    """What `to_link` was given, for `session_from` to check; `StateRefused` for other texts.

    `most_bytes` bounds the JSON in it.

    >>> from_link(to_link({"seed": 7}))
    {'seed': 7}
    """
    if not isinstance(text, str) or not re.fullmatch(r"\d+\.[A-Za-z0-9_-]+", text, re.ASCII):
        raise StateRefused("state_damaged", f"a link must be {LINK!r} and URL-safe base64")
    if not text.startswith(LINK):
        raise StateRefused("state_version", f"a link must begin with {LINK!r}, got {text[:9]!r}")
    packed = text[len(LINK) :]
    try:
        raw = _unpacked(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), most_bytes)
        return json.loads(raw.decode("utf-8", "surrogatepass"), parse_constant=_no_number)
    except (ValueError, RecursionError, zlib.error) as error:
        raise StateRefused("state_damaged", f"the link can't be read: {error}") from error


def _unpacked(packed: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    raw = stream.decompress(packed, most + 1)  # never more, whatever a bomb holds
    if len(raw) > most:
        raise StateRefused("state_too_big", f"the link holds more than {most} bytes")
    if not stream.eof or stream.unused_data:
        raise ValueError("something follows its end" if stream.eof else "its end is missing")
    return raw


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
