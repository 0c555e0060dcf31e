"""What a user has done: a prompt, a tree of choices, a chain, a seed, and the way back."""

from dataclasses import dataclass, replace

from explorer.backends.base import Backend, ContextTooLong, check_token_id, score_from
from explorer.decoding import Chain, StatefulStep, Trace, advance, flip, observe, resume
from explorer.session.generation import draw_next
from explorer.session.look_ahead import Search
from explorer.session.tracing import trace_prefix
from explorer.session.tree import Choice, How, Tree


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
    ahead: Search | None = None  # the last look-ahead, which no action but another one changes

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

    @property
    def chain_here(self) -> Chain:
        """The chain at the cursor: what a token did to Mirostat's mu is kept with the token."""
        here = self.now.tree.here
        return resume(self.chain, here.choice.after) if here and here.choice else self.chain

    def trace(self, backend: Backend) -> Trace:
        """What comes next, and what the chain makes of it."""
        start = len(self.now.tree.prompt)
        return trace_prefix(backend, self.prefix, self.chain_here, start)

    def last_draw(self, backend: Backend) -> Trace | None:
        """The distribution that the token before the cursor was drawn from, if it was drawn."""
        here = self.now.tree.here
        if here is None or here.u is None or here.choice is None:
            return None
        start = len(self.now.tree.prompt)
        return trace_prefix(backend, self.prefix[:-1], here.choice.chain, start)

    def next_draw(self, backend: Backend) -> Trace:
        """The distribution that the next token would be drawn from: every coin has fallen."""
        chain = flip(self.chain_here, self.seed, len(self.prefix))
        return trace_prefix(backend, self.prefix, chain, len(self.now.tree.prompt))

    def pick(self, backend: Backend, token_id: int) -> "Session":
        """Append any token of the vocabulary."""
        check_token_id(token_id, backend.info)
        self._check_room(backend)
        return self._grown(token_id, "picked", None, self._choice(self.trace(backend), token_id))

    def step(self, backend: Backend, *, joined: bool = False) -> "Session":
        """Append the most probable token of the final distribution."""
        self._check_room(backend)
        trace = self.trace(backend)
        token_id = int(trace.final.head(1).token_ids[0])
        return self._grown(token_id, "greedy", None, self._choice(trace, token_id), joined=joined)

    def sample(self, backend: Backend, *, joined: bool = False) -> "Session":
        """Append a token drawn from the final distribution with this position's u."""
        self._check_room(backend)
        start = len(self.now.tree.prompt)
        drawn = draw_next(backend, self.prefix, self.chain_here, self.seed, start)
        choice = Choice(drawn.applied, drawn.chain, drawn.observed, drawn.logprob)
        return self._grown(drawn.token_id, "sampled", drawn.u, choice, joined=joined)

    def adopt(
        self, backend: Backend, prefix: tuple[int, ...], token_ids: tuple[int, ...]
    ) -> "Session":
        """Append a continuation of any prefix in the tree, and go to its end; one undo.

        Raises `ValueError` if the tree does not hold the prefix. One forward pass scores all
        tokens; rules with a state need each one's distribution.
        """
        tree = self.now.tree.find(prefix)
        if tree is None:
            raise ValueError("the tree does not hold this prefix")
        if len(prefix) + len(token_ids) > backend.info.context_length:
            raise ContextTooLong(len(prefix) + len(token_ids), backend.info.context_length)
        grown = replace(self, now=replace(self.now, tree=tree))
        stateless = not any(isinstance(step, StatefulStep) for step in grown.chain_here)
        scored = backend.score(prefix + token_ids)[len(prefix) :]
        for token in scored:
            chain = grown.chain_here
            choice = (
                Choice(chain, chain, (), token.logprob)
                if stateless
                else grown._choice(grown.trace(backend), token.token_id)
            )
            grown = grown._grown(token.token_id, "picked", None, choice, joined=True)
        return self._moved(grown.now)

    def rewind(self, depth: int) -> "Session":
        """Go back until `depth` tokens follow the prompt."""
        return self._moved(replace(self.now, tree=self.now.tree.at_depth(depth)))

    def go_to(self, node_id: int) -> "Session":
        """Go to any node of the tree; 0 is the prompt."""
        return self._moved(replace(self.now, tree=self.now.tree.at(node_id)))

    def jump(self, backend: Backend, position: int) -> "Session":
        """Stand just before the token at `position` of the prompt, to see what was likely there.

        The rest of the prompt becomes a typed branch, and what followed it follows that. The
        ids stay what they were; nothing is encoded anew. Undo brings the prompt back.
        """
        tree = self.now.tree
        if not 0 < position < len(tree.prompt):
            raise ValueError(f"position must be from 1 to {len(tree.prompt) - 1}, got {position!r}")
        scored = backend.score(tree.prompt)[position:]
        return self._moved(replace(self.now, tree=tree.split(position, scored)))

    def mark(
        self, node_id: int, *, name: str | None = None, pinned: bool | None = None
    ) -> "Session":
        """Name or pin the branch that begins at a node."""
        tree = self.now.tree.marked(node_id, name=name, pinned=pinned)
        return self._moved(replace(self.now, tree=tree))

    def delete(self, node_id: int) -> "Session":
        """Delete a node and all that follows it; undo brings them back."""
        return self._moved(replace(self.now, tree=self.now.tree.without(node_id)))

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

    def _choice(self, trace: Trace, token_id: int) -> Choice:
        chain = self.chain_here
        after = resume(chain, advance(chain, trace, token_id))
        logprob = score_from(trace.distribution, token_id).logprob
        return Choice(chain, after, observe(trace, token_id), logprob)

    def _check_room(self, backend: Backend) -> None:
        length = len(self.prefix) + 1
        if length > backend.info.context_length:
            raise ContextTooLong(length, backend.info.context_length)

    def _grown(
        self, token_id: int, how: How, u: float | None, choice: Choice, *, joined: bool = False
    ) -> "Session":
        """`joined` makes the token part of the action before it: one undo takes back a run."""
        moment = replace(self.now, tree=self.now.tree.grown(token_id, how, u, choice))
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
