"""What a user can take home: the table as CSV, the session as JSON."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from explorer.session import Candidate, PathToken, Reading
from explorer.views.table import finite, table_rows
from explorer.views.text import plain_text, printable


def token_table(candidates: tuple[Candidate, ...]) -> pd.DataFrame:
    """The next-token table as a data frame, one candidate a row."""
    columns = ["rank", "token_id", "text", "bytes_hex", "special", "logit"]
    columns += ["raw_probability", "probability", "cut_by"]
    if any(candidate.ranked.bounds for candidate in candidates):
        columns += ["probability_low", "probability_high"]
    return pd.DataFrame(table_rows(candidates), columns=columns)


def table_csv(candidates: tuple[Candidate, ...]) -> str:
    """CSV with a byte-order mark, without which Excel reads Japanese as something else.

    A text that a spreadsheet would run as a formula is led by an apostrophe, in Japanese ones
    also in full-width signs; `bytes_hex` has the token as it is.
    """
    return _csv(token_table(candidates))


def path_csv(path: Sequence[PathToken]) -> str:
    """The tokens of the text, one a row, with what the model thought of each; as `table_csv`."""
    columns = ["position", "token_id", "text", "bytes_hex", "special", "how", "u"]
    columns += ["logprob", "rank", "surprisal_bits", "entropy_bits"]
    rows = [
        {
            "position": token.position,
            "token_id": token.token_id,
            "text": printable(token.raw, special=token.special),
            "bytes_hex": token.raw.hex(),
            "special": token.special,
            "how": token.how,
            "u": token.u,
            "logprob": token.logprob,
            "rank": token.rank,
            "surprisal_bits": token.surprisal,
            "entropy_bits": None if token.entropy is None else token.entropy / math.log(2),
        }
        for token in path
    ]
    return _csv(pd.DataFrame(rows, columns=columns).astype({"rank": "Int64"}))


def _csv(table: pd.DataFrame) -> str:
    formula = table["text"].str.match(r"[=+\-@＝＋－＠]")
    table.loc[formula, "text"] = "'" + table.loc[formula, "text"]
    return "\ufeff" + table.to_csv(index=False, lineterminator="\r\n")


def session_file(state: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """The state, which can be loaded again, and the numbers at its present position, to be read."""
    return {
        **state,
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
