"""The tokens chosen so far, and the ones chosen before going back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from explorer.backends.base import ScoredToken
from explorer.decoding import Chain, Observation, StatefulStep

How = Literal["picked", "greedy", "sampled", "typed"]

ROOT = 0  # the prompt itself: a place to stand, not a token


@dataclass(frozen=True, slots=True)
class Choice:
    """The rules under which a token was chosen, and what they made of it.

    It is kept with the token, so that going back restores every state exactly, and the draw
    can be shown as it was after the rules have changed.
    """

    chain: Chain  # as it was applied: states as they stood, coins as they fell
    after: Chain  # with the states for the position after the token
    observed: tuple[Observation, ...] = ()
    logprob: float | None = None  # raw, in nats; None where the server did not tell


@dataclass(frozen=True, slots=True)
class Node:
    """One token after its parent."""

    node_id: int  # from 1; 0 is the prompt
    parent_id: int
    token_id: int
    how: How
    u: float | None = None  # the draw that chose it, where it was sampled
    choice: Choice | None = None
    name: str = ""  # given by the user to the branch that begins here
    pinned: bool = False
    deleted: bool = False  # with all that follows it; undo brings it back


@dataclass(frozen=True, slots=True)
class Tree:
    """All continuations of a prompt that were tried, and where the reader stands.

    Node n is `nodes[n - 1]`. Every operation returns a new tree. A deleted node keeps its
    number, so that all others keep theirs.

    >>> tree = Tree(prompt=(7, 8)).grown(3, "picked").grown(4, "greedy")
    >>> tree.prefix, tree.at_depth(1).grown(5, "picked").prefix
    ((7, 8, 3, 4), (7, 8, 3, 5))
    """

    prompt: tuple[int, ...]
    nodes: tuple[Node, ...] = ()
    cursor: int = ROOT

    @property
    def path(self) -> tuple[Node, ...]:
        """The nodes from the prompt to the cursor."""
        nodes = []
        node_id = self.cursor
        while node_id != ROOT:
            node = self.nodes[node_id - 1]
            nodes.append(node)
            node_id = node.parent_id
        return tuple(reversed(nodes))

    @property
    def prefix(self) -> tuple[int, ...]:
        """The token ids that the model sees at the cursor."""
        return self.prompt + tuple(node.token_id for node in self.path)

    def children(self, node_id: int) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.parent_id == node_id and not node.deleted)

    def node(self, node_id: int) -> Node:
        """A node that is there; `ValueError` for any other number."""
        if not 0 < node_id <= len(self.nodes) or self.nodes[node_id - 1].deleted:
            raise ValueError(f"there is no node {node_id}")
        return self.nodes[node_id - 1]

    def at(self, node_id: int) -> "Tree":
        """Go to any node, or with 0 to the prompt."""
        return replace(self, cursor=self.node(node_id).node_id if node_id else ROOT)

    def find(self, prefix: tuple[int, ...]) -> "Tree | None":
        """The tree with its cursor where this prefix ends; `None` if it does not hold it."""
        if self.prefix == prefix:
            return self
        if prefix[: len(self.prompt)] != self.prompt:
            return None
        ends = {ROOT}
        for token_id in prefix[len(self.prompt) :]:
            ends = {
                node.node_id
                for node in self.nodes
                if node.parent_id in ends and node.token_id == token_id and not node.deleted
            }
        return self.at(min(ends)) if ends else None

    def marked(
        self, node_id: int, *, name: str | None = None, pinned: bool | None = None
    ) -> "Tree":
        """Name or pin the branch that begins at a node."""
        node = self.node(node_id)
        changed = replace(
            node,
            name=node.name if name is None else name,
            pinned=node.pinned if pinned is None else pinned,
        )
        return self._with({node_id: changed})

    def without(self, node_id: int) -> "Tree":
        """Delete a node and all that follows it; who stands there goes back to just before.

        >>> tree = Tree((7,)).grown(3, "picked").grown(4, "greedy")
        >>> tree.without(1).prefix, tree.without(1).children(0)
        ((7,), ())
        """
        gone = {self.node(node_id).node_id}
        for node in self.nodes:  # a parent always stands before its children
            if node.parent_id in gone:
                gone.add(node.node_id)
        cursor = self.nodes[node_id - 1].parent_id if self.cursor in gone else self.cursor
        deleted = {one: replace(self.nodes[one - 1], deleted=True) for one in gone}
        return replace(self._with(deleted), cursor=cursor)

    def split(self, position: int, scored: Sequence[ScoredToken]) -> "Tree":
        """The prompt's tokens from `position` on as nodes of their own; at the prompt's new end.

        `scored` are these tokens. All other nodes follow them, under higher numbers.

        >>> tree = Tree((7, 8, 9)).grown(3, "picked").split(1, (ScoredToken(8), ScoredToken(9)))
        >>> tree.prefix, tree.at(3).prefix
        ((7,), (7, 8, 9, 3))
        """
        count = len(scored)
        typed = tuple(
            Node(
                number + 1,
                number,
                token.token_id,
                "typed",
                choice=Choice((), (), logprob=token.logprob),
            )
            for number, token in enumerate(scored)
        )
        moved = tuple(
            replace(node, node_id=node.node_id + count, parent_id=node.parent_id + count)
            for node in self.nodes
        )
        return Tree(self.prompt[:position], typed + moved)

    def _with(self, changed: dict[int, Node]) -> "Tree":
        return replace(self, nodes=tuple(changed.get(node.node_id, node) for node in self.nodes))

    @property
    def here(self) -> Node | None:
        """The node at the cursor; `None` at the prompt."""
        return self.nodes[self.cursor - 1] if self.cursor != ROOT else None

    def grown(
        self, token_id: int, how: How, u: float | None = None, choice: Choice | None = None
    ) -> "Tree":
        """Append a token at the cursor and go there; the same choice again is the same node."""
        node = Node(len(self.nodes) + 1, self.cursor, token_id, how, u, choice)
        for child in self.children(self.cursor):
            if _same(child, node):
                return replace(self, cursor=child.node_id)
        return replace(self, nodes=(*self.nodes, node), cursor=node.node_id)

    def at_depth(self, depth: int) -> "Tree":
        """Go back along the path until `depth` tokens follow the prompt."""
        path = self.path
        if not 0 <= depth <= len(path):
            raise ValueError(f"depth must be from 0 to {len(path)}, got {depth!r}")
        return replace(self, cursor=path[depth - 1].node_id if depth else ROOT)


def _same(one: Node, other: Node) -> bool:
    """Whether two siblings stand for one choice.

    A draw depends on the whole chain; a token that was picked does only through the states
    that it left.
    """
    if (one.token_id, one.how, one.u) != (other.token_id, other.how, other.u):
        return False
    if one.how == "sampled":
        return one.choice == other.choice
    return _states(one) == _states(other)


def _states(node: Node) -> tuple[float | None, ...]:
    after = node.choice.after if node.choice else ()
    return tuple(step.mu for step in after if isinstance(step, StatefulStep))
