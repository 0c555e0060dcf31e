"""What a user can take home: the table as CSV, the session as JSON."""

import math
from typing import Any

import pandas as pd

from explorer.decoding import Chain, chain_to_json
from explorer.session import Candidate, Reading
from explorer.views.table import finite, table_rows
from explorer.views.text import plain_text

FORMAT = "next-token-explorer/1"


def token_table(candidates: tuple[Candidate, ...]) -> pd.DataFrame:
    """The next-token table as a data frame, one candidate a row."""
    columns = ["rank", "token_id", "text", "bytes_hex", "special", "logit"]
    columns += ["raw_probability", "probability", "cut_by"]
    return pd.DataFrame(table_rows(candidates), columns=columns)


def table_csv(candidates: tuple[Candidate, ...]) -> str:
    """CSV with a byte-order mark, without which Excel reads Japanese as something else.

    A text that a spreadsheet would run as a formula is led by an apostrophe; `bytes_hex`
    has the token as it is.
    """
    table = token_table(candidates)
    formula = table["text"].str.match(r"[=+\-@]")
    table.loc[formula, "text"] = "'" + table.loc[formula, "text"]
    return "\ufeff" + table.to_csv(index=False, lineterminator="\r\n")


def session_file(reading: Reading) -> dict[str, Any]:
    """Everything that makes this session, and the numbers at its present position."""
    session, info = reading.session, reading.info
    chains: dict[Chain, int] = {}
    for node in session.now.tree.nodes:
        if node.choice is not None:
            for chain in (node.choice.chain, node.choice.after):
                chains.setdefault(chain, len(chains))
    return {
        "format": FORMAT,
        "model": {
            "model_id": info.model_id,
            "revision": info.revision,
            "dtype": info.dtype,
            "vocab_size": info.vocab_size,
        },
        "prompt": {
            "text": session.now.prompt.text,
            "chat": session.now.prompt.chat,
            "token_ids": list(session.now.tree.prompt),
        },
        "tree": {
            "nodes": [
                {
                    "node_id": node.node_id,
                    "parent_id": node.parent_id,
                    "token_id": node.token_id,
                    "how": node.how,
                    "u": node.u,
                    "chain": None if node.choice is None else chains[node.choice.chain],
                    "chain_after": None if node.choice is None else chains[node.choice.after],
                    "name": node.name,
                    "pinned": node.pinned,
                    "deleted": node.deleted,
                }
                for node in session.now.tree.nodes
            ],
            "cursor": session.now.tree.cursor,
        },
        # Nodes name the chain they were chosen under, and the one after them, by its place here.
        "chains": [chain_to_json(chain) for chain in chains],
        "chain": chain_to_json(session.chain),
        "seed": session.seed,
        "text": plain_text([token.raw for token in reading.path if not token.special]),
        "path": [
            {
                "token_id": token.token_id,
                "bytes_hex": token.raw.hex(),
                "logprob": None if token.logprob is None else finite(token.logprob),
                "rank": token.rank,
                "entropy_bits": None if token.entropy is None else token.entropy / math.log(2),
                "how": token.how,
                "u": token.u,
            }
            for token in reading.path
        ],
        "table": table_rows(reading.candidates),
    }
