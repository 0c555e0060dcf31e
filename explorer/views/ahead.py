"""A look-ahead as plain data: its tree, and what it found side by side."""

import math
from collections.abc import Callable
from typing import Any

from explorer.session import BeamSearch, Cover, Path, Search
from explorer.views.text import readable
from explorer.views.tree import repetition

MOST_PATHS = 50


def ahead_data(
    search: Search, text_of: Callable[[int], str], bytes_of: Callable[[int], bytes]
) -> dict[str, Any]:
    """`text_of` gives a token's printable text, `bytes_of` the bytes it adds to a text."""
    paths = search.paths()
    return {
        "done": search.done,
        "depth": max((node.depth for node in search.nodes), default=0),
        "nodes": [
            {
                "id": place,
                "parent": node.parent,
                "text": text_of(node.token_id),
                "token_id": node.token_id,
                "probability": math.exp(node.logprob),
                "sum": node.total,
                "ends": node.ends,
            }
            for place, node in enumerate(search.nodes)
        ],
        "paths": [_path_data(path, bytes_of) for path in paths[:MOST_PATHS]],
        "other_paths": max(0, len(paths) - MOST_PATHS),
        "running": list(search.running) if isinstance(search, BeamSearch) else [],
        "covered": search.covered if isinstance(search, Cover) else None,
        "ending": search.ending if isinstance(search, Cover) else None,
    }


def _path_data(path: Path, bytes_of: Callable[[int], bytes]) -> dict[str, Any]:
    return {
        "id": path.place,
        "token_ids": list(path.token_ids),
        "text": readable(b"".join(bytes_of(token_id) for token_id in path.token_ids)),
        "tokens": len(path.token_ids),
        "sum": path.total,
        "probability": math.exp(path.total),
        "score": path.score,
        "finished": path.finished,
        "repetition": repetition(path.token_ids),
    }
