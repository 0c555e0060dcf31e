"""The tree of choices: its nodes for the screen, and its branches side by side."""

import marshal
import math
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from explorer.session import Node, Tree
from explorer.views.text import readable

MAX_COMPARED = 24
GRAM = 4


def tree_nodes(tree: Tree, text_of: Callable[[int], str], known: str = "") -> dict[str, Any]:
    """All nodes that are there, parents first, with sums of log-probabilities from the prompt.

    A sum is unknown from the first token on whose own is unknown. Where `known` is the digest
    of these very nodes, they are `None`: thousands of them need not travel again because
    somebody went from one to another.
    """
    sums: dict[int, float | None] = {0: 0.0}
    nodes = []
    for node in tree.nodes:
        if node.deleted:
            continue
        before, own = sums[node.parent_id], _logprob(node)
        sums[node.node_id] = None if before is None or own is None else before + own
        nodes.append(
            {
                "id": node.node_id,
                "parent": node.parent_id,
                "text": text_of(node.token_id),
                "how": node.how,
                "probability": None if own is None else math.exp(own),
                "sum": sums[node.node_id],
                "name": node.name,
                "pinned": node.pinned,
            }
        )
    digest = _digest(nodes)
    return {
        "cursor": tree.cursor,
        "path": [node.node_id for node in tree.path],
        "digest": digest,
        "nodes": None if digest == known else nodes,
    }


def _digest(nodes: list[dict[str, Any]]) -> str:
    """Of all that is sent, so of all that is drawn.

    `marshal` writes 2,000 nodes ten times as fast as `json`. Later versions of its format than
    2 depend on how values are shared in memory, too, not only on the values.
    """
    return blake2b(marshal.dumps(nodes, 2), digest_size=12).hexdigest()


def branches(
    tree: Tree, bytes_of: Callable[[int], bytes], most: int = MAX_COMPARED
) -> dict[str, Any]:
    """The branches' texts from the prompt to each pinned node and each end, pinned ones first."""
    parents = {node.parent_id for node in tree.nodes if not node.deleted}
    ends = [
        node
        for node in tree.nodes
        if not node.deleted and (node.pinned or node.node_id not in parents)
    ]
    ends.sort(key=lambda node: (not node.pinned, node.node_id))
    shown = [_branch(tree.at(node.node_id), node, bytes_of) for node in ends[:most]]
    return {"branches": shown, "others": len(ends) - len(shown)}


def _branch(tree: Tree, end: Node, bytes_of: Callable[[int], bytes]) -> dict[str, Any]:
    path = tree.path
    logprobs = [_logprob(node) for node in path]
    known = [logprob for logprob in logprobs if logprob is not None]
    return {
        "id": end.node_id,
        "names": [node.name for node in path if node.name],
        "pinned": end.pinned,
        "text": readable(b"".join(bytes_of(node.token_id) for node in path)),
        "tokens": len(path),
        "sum": sum(known) if len(known) == len(path) else None,
        "repetition": repetition([node.token_id for node in path]),
    }


def repetition(token_ids: Sequence[int]) -> float | None:
    """The share of 4-grams of tokens that were there before; unknown below four tokens.

    >>> repetition([1, 2, 3, 4, 1, 2, 3, 4])  # of 5, the last repeats the first
    0.2
    """
    grams = Counter(
        tuple(token_ids[start : start + GRAM]) for start in range(len(token_ids) - GRAM + 1)
    )
    count = grams.total()
    return (count - len(grams)) / count if count else None


def _logprob(node: Node) -> float | None:
    logprob = node.choice.logprob if node.choice else None
    return logprob if logprob is not None and math.isfinite(logprob) else None
