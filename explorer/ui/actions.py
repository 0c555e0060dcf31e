"""What the page can ask for. Each action: check, call the session, show."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from explorer.backends.base import Backend, BackendError, LoadStatus, ModelNeeded, Models
from explorer.decoding.parameters import ParameterError
from explorer.session import (
    Prompt,
    Session,
    StateRefused,
    read,
    session_from,
    state_of,
    to_link,
)
from explorer.settings import Limits
from explorer.ui import arguments, limiting
from explorer.ui.ahead import AHEAD, adopt
from explorer.ui.lab import LAB
from explorer.ui.loading import loaded_state
from explorer.ui.messages import Refused, error_facts
from explorer.ui.opening import opening_prompt
from explorer.ui.payload import (
    bytes_of,
    status_payload,
    table_payload,
    texts_of,
    view_payload,
)
from explorer.ui.rounding import rounding_data
from explorer.ui.store import KEY, SessionStore
from explorer.ui.zero_gpu import on_gpu
from explorer.views.ahead import ahead_data
from explorer.views.files import path_csv, session_file, table_csv
from explorer.views.text import plain_text

Request = Mapping[str, Any]
Payload = dict[str, Any]
Answered = tuple[Payload, Session | None]
Answer = Callable[[Backend], Answered]
Then = Callable[[Session, Backend, Request], Session]
FILES = ("csv", "path_csv", "json", "text", "link")
# These ask no model, and may lead back to another one: both need not be in memory at once.
BACK_AND_FORTH: dict[str, Callable[[Session], Session]] = {
    "undo": Session.undo,
    "redo": Session.redo,
}
READING = {*FILES, *LAB, "rounding"}  # change nothing, so no click waits for them
MAX_NAME = 100  # characters of a branch's name


@dataclass(frozen=True, slots=True)
class Asked:
    """What every request says besides its action."""

    top_n: int
    whole_strip: bool
    with_ledger: bool
    with_tree: bool
    with_score: bool
    tree_known: str  # the digest of the tree that the page holds


class Actions:
    """Answers the page. Never raises for what a client sends: errors are answers, too."""

    def __init__(self, models: Models, store: SessionStore, limits: Limits | None = None) -> None:
        self._models = models
        self._store = store
        self._limits = limits or Limits()
        self._compute = on_gpu(self._answer)
        self._steps: dict[str, Then] = {
            "step": lambda session, backend, data: session.step(backend, joined=_joined(data)),
            "sample": lambda session, backend, data: session.sample(backend, joined=_joined(data)),
            "pick": _pick,
            "rewind": _rewind,
            "reset": lambda session, backend, data: session.reset(),
            "jump": _jump,
            "adopt": adopt,
            "go_to": _go_to,
            "mark": _mark,
            "delete": _delete,
            "settings": _settings,
            "open": lambda session, backend, data: session,
        }

    @property
    def names(self) -> frozenset[str]:
        """All actions that there are."""
        alone = {"ask", "load", "status"}
        return frozenset({*alone, *self._steps, *BACK_AND_FORTH, *READING, *AHEAD})

    def act(self, data: Any, client: str = "") -> Payload:
        """One request, `{action, key, top_n, whole_strip, …}`, to `{ok}` or `{error}`."""
        try:
            if not isinstance(data, Mapping):
                raise ParameterError("request", arguments.short(data), "an object")
            if data.get("action") == "status":
                return {"ok": {"status": self._status(data)}}
            key = data.get("key")
            if not isinstance(key, str) or not KEY.fullmatch(key):
                raise ParameterError("key", arguments.short(key), "a UUID")
            action = data.get("action")
            limiting.check_request(self._limits, action, data)
            slot = self._store.slot(key, client)
            if isinstance(action, str) and action in READING:
                return {"ok": self._compute(slot.session, data)[0]}
            request = data.get("request")
            if request is not None and not (isinstance(request, str) and KEY.fullmatch(request)):
                raise ParameterError("request", arguments.short(request), "a UUID")
            with slot.lock:
                before = slot.session
                if request is not None and request == slot.done:
                    # Its answer was lost on the way: it is shown again, and not done twice.
                    return {"ok": self._compute(before, {**data, "action": "open"})[0]}
                # A failure leaves the session as it was.
                answer, session = self._compute(before, data)
                if session is not None:
                    session = limiting.kept(self._limits, before, session)
                self._store.put(slot, session)
                if session is not before and action not in AHEAD:
                    slot.done = request
            if action == "ask" and session is not None:
                self._keep_opening(session)
            return {"ok": answer}
        except (BackendError, ParameterError, Refused, StateRefused) as error:
            return {"error": error_facts(error)}

    def _keep_opening(self, session: Session) -> None:
        """Only what the page asks by itself: what a user typed is never written anywhere."""
        now = session.now
        if now.prompt == opening_prompt(now.model):
            self._models.keep_first_table(now.model, now.prompt.text, now.prompt.chat)

    def _answer(self, session: Session | None, data: Request) -> Answered:
        """The answer and the session after it; touches nothing else, so any process can run it."""
        action = data.get("action")
        asked = Asked(
            arguments.count_argument("top_n", data.get("top_n", 50), 5, self._limits.table_rows),
            arguments.flag_argument("whole_strip", data.get("whole_strip", False)),
            arguments.flag_argument("with_ledger", data.get("with_ledger", False)),
            arguments.flag_argument("with_tree", data.get("with_tree", False)),
            arguments.flag_argument("with_score", data.get("with_score", False)),
            arguments.text_argument("tree_known", data.get("tree_known", "")),
        )
        if action == "ask":
            return self._ask(session, data, asked)
        if action == "load":
            return self._load(session, data, asked)
        if session is None:
            raise Refused("session_gone")
        if not isinstance(action, str) or action not in self.names:
            raise ParameterError("action", arguments.short(action), "an action of the page")
        after = BACK_AND_FORTH[action](session) if action in BACK_AND_FORTH else session
        model = after.now.model

        def answer(backend: Backend) -> Answered:
            return self._done(after, backend, data, asked, action)

        done, status = self._with_model(model, answer)
        return done or ({"away": status_payload(model, status)}, session)

    def _with_model(self, model: str, answer: Answer) -> tuple[Answered | None, LoadStatus]:
        """The answer of a model that is there, or of what an earlier start left of it.

        There is none where the model is needed and still on its way, with the status that says
        how far it is; one of an earlier start says so, too.
        """
        status = self._models.request(model)
        if status.phase == "ready":
            return answer(self._models.get(model)), status
        backend = self._models.early(model)
        if backend is None:
            return None, status
        try:
            payload, session = answer(backend)
        except ModelNeeded:
            return None, status
        return ({**payload, "early": status_payload(model, status)}, session), status

    def _done(
        self, session: Session, backend: Backend, data: Request, asked: Asked, action: str
    ) -> Answered:
        if action in BACK_AND_FORTH:
            return _shown(session, backend, asked, action)
        if action in self._steps:
            return _shown(self._steps[action](session, backend, data), backend, asked, action)
        if action in FILES:
            return {action: _file(session, backend, action, asked)}, session
        if action in AHEAD:
            session = AHEAD[action](session, backend, data)
            assert session.ahead is not None, "it was just advanced"
            found = ahead_data(session.ahead, texts_of(backend), bytes_of(backend))
            return {"ahead": found}, session
        if action == "rounding":
            return {"rounding": rounding_data(session, backend, self._models)}, session
        return {action: LAB[action](session, backend, data)}, session

    def _ask(self, session: Session | None, data: Request, asked: Asked) -> Answered:
        """A prompt; for a model that is not loaded yet, how far it is."""
        model = arguments.model_argument(data.get("model"), self._models.default)
        prompt = Prompt(
            arguments.text_argument("prompt", data.get("prompt")),
            arguments.flag_argument("chat", data.get("chat", False)),
        )
        limiting.check_prompt(self._limits, prompt.text)

        def answer(backend: Backend) -> Answered:
            if session is None:
                asking = Session.start(model, backend, prompt)
            else:
                asking = session.ask(model, backend, prompt)
            limiting.check_prefix(self._limits, len(asking.now.tree.prompt))
            return _shown(_settings(asking, backend, data), backend, asked, "ask")

        done, status = self._with_model(model, answer)
        return done or ({"status": status_payload(model, status)}, session)

    def _load(self, session: Session | None, data: Request, asked: Asked) -> Answered:
        """A session from a file or a link, its model first; undo brings the old one back."""
        state = loaded_state(data, self._limits)
        limiting.check_state(self._limits, state)
        name = state["model"]["name"]
        offered = {choice.name for choice in self._models.choices()} | {self._models.default}
        own = arguments.flag_argument("own", data.get("own", False))
        there = name in offered or self._models.status(name).phase == "ready"
        if "link" in data and not own and not there and not self._models.public:
            # Who follows a link must not fetch a model of somebody else's choice unasked; a page
            # that brings back its own copy chose the model itself.
            raise Refused("link_model", model=name)

        def answer(backend: Backend) -> Answered:
            loaded, differs = session_from(state, backend)
            if session is not None:
                loaded = replace(loaded, past=(*session.past, session.now))
            payload, loaded = _shown(loaded, backend, asked, "load")
            return {**payload, "differs": list(differs)}, loaded

        done, status = self._with_model(name, answer)
        return done or ({"status": status_payload(name, status)}, session)

    def _status(self, data: Request) -> Payload:
        model = arguments.model_argument(data.get("model"), self._models.default)
        return status_payload(model, self._models.status(model))


def _shown(
    session: Session, backend: Backend, asked: Asked, action: str
) -> tuple[Payload, Session]:
    reading = read(session, backend, asked.top_n)
    if action == "settings":
        table = table_payload(reading, backend, with_ledger=asked.with_ledger)
        return {"table": table}, session
    view = view_payload(
        reading,
        backend,
        with_ledger=asked.with_ledger,
        with_tree=asked.with_tree,
        with_score=asked.with_score,
        tree_known=asked.tree_known,
        whole_strip=asked.whole_strip,
    )
    return {"view": view}, session


def _file(session: Session, backend: Backend, kind: str, asked: Asked) -> str:
    if kind == "link":
        return to_link(state_of(session, backend))
    reading = read(session, backend, asked.top_n)
    if kind == "csv":
        return table_csv(reading.candidates)
    if kind == "path_csv":
        return path_csv(reading.path)
    if kind == "json":
        data = session_file(state_of(session, backend), reading)
        return json.dumps(data, ensure_ascii=False, indent=1)
    return plain_text([token.raw for token in reading.path if not token.special])


def _joined(data: Request) -> bool:
    return arguments.flag_argument("joined", data.get("joined", False))


def _pick(session: Session, backend: Backend, data: Request) -> Session:
    high = backend.info.vocab_size - 1
    return session.pick(
        backend, arguments.count_argument("token_id", data.get("token_id"), 0, high)
    )


def _rewind(session: Session, backend: Backend, data: Request) -> Session:
    high = len(session.now.tree.path)
    return session.rewind(arguments.count_argument("depth", data.get("depth"), 0, high))


def _jump(session: Session, backend: Backend, data: Request) -> Session:
    high = len(session.now.tree.prompt) - 1
    return session.jump(
        backend, arguments.count_argument("position", data.get("position"), 1, high)
    )


def _node(session: Session, data: Request, *, low: int = 1) -> int:
    """A node that is there; the page may still show one that another action deleted."""
    tree = session.now.tree
    node_id = arguments.count_argument("node_id", data.get("node_id"), low, len(tree.nodes))
    if node_id and tree.nodes[node_id - 1].deleted:
        raise Refused("node_gone")
    return node_id


def _go_to(session: Session, backend: Backend, data: Request) -> Session:
    return session.go_to(_node(session, data, low=0))


def _mark(session: Session, backend: Backend, data: Request) -> Session:
    name, pinned = data.get("name"), data.get("pinned")
    if name is not None and len(arguments.text_argument("name", name)) > MAX_NAME:
        raise ParameterError("name", arguments.short(name), f"at most {MAX_NAME} characters")
    if pinned is not None:
        arguments.flag_argument("pinned", pinned)
    return session.mark(_node(session, data), name=name, pinned=pinned)


def _delete(session: Session, backend: Backend, data: Request) -> Session:
    return session.delete(_node(session, data))


def _settings(session: Session, backend: Backend, data: Request) -> Session:
    chain = arguments.chain_argument(data["chain"]) if "chain" in data else session.chain
    seed = arguments.seed_argument(data["seed"]) if "seed" in data else session.seed
    return replace(session, chain=chain, seed=seed)
