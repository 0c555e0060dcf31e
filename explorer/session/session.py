"""What a user has done: a prompt, a tree of choices, a chain, a seed, and the way back."""

from dataclasses import dataclass, replace

from explorer.backends.base import Backend, ContextTooLong, check_token_id
from explorer.decoding import Chain, decode
from explorer.session.generation import draw_next
from explorer.session.tree import How, Tree


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the user typed; a chat prompt goes through the model's own template."""

    text: str
    chat: bool = False

    def encode(self, backend: Backend) -> tuple[int, ...]:
        """Token ids; the only place where a user's text becomes ids."""
        if self.chat:
            return backend.encode_chat([{"role": "user", "content": self.text}])
        return backend.encode(self.text)


@dataclass(frozen=True, slots=True)
class Moment:
    """What undo and redo bring back."""

    model: str
    prompt: Prompt
    tree: Tree


@dataclass(frozen=True, slots=True)
class Session:
    """An immutable value: every action returns the session that follows from it."""

    now: Moment
    chain: Chain = ()
    seed: int = 0
    past: tuple[Moment, ...] = ()
    future: tuple[Moment, ...] = ()

    @classmethod
    def start(
        cls, model: str, backend: Backend, prompt: Prompt, chain: Chain = (), seed: int = 0
    ) -> "Session":
        return cls(_moment(model, backend, prompt), chain, seed)

    def ask(self, model: str, backend: Backend, prompt: Prompt) -> "Session":
        """Another prompt or another model; undo brings the old one back."""
        return self._moved(_moment(model, backend, prompt))

    @property
    def prefix(self) -> tuple[int, ...]:
        return self.now.tree.prefix

    def pick(self, backend: Backend, token_id: int) -> "Session":
        """Append any token of the vocabulary."""
        check_token_id(token_id, backend.info)
        return self._grown(backend, token_id, "picked")

    def step(self, backend: Backend, *, joined: bool = False) -> "Session":
        """Append the most probable token of the final distribution."""
        trace = decode(backend.next_distribution(self.prefix), self.chain, self.prefix)
        return self._grown(backend, int(trace.final.token_ids[0]), "greedy", joined=joined)

    def sample(self, backend: Backend, *, joined: bool = False) -> "Session":
        """Append a token drawn from the final distribution with this position's u."""
        drawn = draw_next(backend, self.prefix, self.chain, self.seed)
        return self._grown(backend, drawn.token_id, "sampled", drawn.u, joined=joined)

    def rewind(self, depth: int) -> "Session":
        """Go back until `depth` tokens follow the prompt."""
        return self._moved(replace(self.now, tree=self.now.tree.at_depth(depth)))

    def reset(self) -> "Session":
        """Back to the prompt alone, with no branch kept; undo still brings all of it back."""
        return self._moved(replace(self.now, tree=Tree(self.now.tree.prompt)))

    def undo(self) -> "Session":
        if not self.past:
            return self
        return replace(
            self, now=self.past[-1], past=self.past[:-1], future=(self.now, *self.future)
        )

    def redo(self) -> "Session":
        if not self.future:
            return self
        return replace(
            self, now=self.future[0], past=(*self.past, self.now), future=self.future[1:]
        )

    def _grown(
        self,
        backend: Backend,
        token_id: int,
        how: How,
        u: float | None = None,
        *,
        joined: bool = False,
    ) -> "Session":
        """`joined` makes the token part of the action before it: one undo takes back a run."""
        length = len(self.prefix) + 1
        if length > backend.info.context_length:
            raise ContextTooLong(length, backend.info.context_length)
        moment = replace(self.now, tree=self.now.tree.grown(token_id, how, u))
        return replace(self, now=moment, future=()) if joined else self._moved(moment)

    def _moved(self, moment: Moment) -> "Session":
        if moment == self.now:
            return self
        return replace(self, now=moment, past=(*self.past, self.now), future=())


def _moment(model: str, backend: Backend, prompt: Prompt) -> Moment:
    token_ids = prompt.encode(backend)
    if len(token_ids) > backend.info.context_length:
        raise ContextTooLong(len(token_ids), backend.info.context_length)
    return Moment(model, prompt, Tree(token_ids))
