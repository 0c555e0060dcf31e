"""The next character as data for the page."""

from typing import Any

from explorer.session import CharacterReading, Mass, Rest
from explorer.views.lab import TextOf
from explorer.views.text import printable

MOST_ROWS = 100
MOST_SPECIALS = 10
MOST_PIECES = 20


def characters_data(
    reading: CharacterReading, text_of: TextOf, most: int = MOST_ROWS
) -> dict[str, Any]:
    """Characters by final mass, then raw; what is too much to list is counted and summed.

    `text_of` gives the printable text of a token. Masses are shares of 1.
    """
    specials, pieces = reading.silent, reading.pieces
    return {
        "pending": printable(reading.pending),
        "rows": [
            {
                "character": printable(row.character.encode()),
                "code": f"U+{ord(row.character):04X}",
                **_masses(row.mass),
                "tokens": row.tokens,
                "ways": [
                    {
                        "token_ids": list(way.token_ids),
                        "texts": [text_of(token_id) for token_id in way.token_ids],
                        "raw": way.raw,
                    }
                    for way in row.ways
                ],
            }
            for row in reading.characters[:most]
        ],
        "others": _rest([row.mass for row in reading.characters[most:]], reading.other_characters),
        "specials": [
            {"token_id": row.token_id, "text": text_of(row.token_id), **_masses(row.mass)}
            for row in specials[:MOST_SPECIALS]
        ],
        "other_specials": _rest(
            [row.mass for row in specials[MOST_SPECIALS:]], reading.other_silent
        ),
        "broken": _masses(reading.broken),
        "unexpanded": {
            **_masses(reading.unexpanded),
            "pieces": [
                {"text": printable(piece.spelled), **_masses(piece.mass)}
                for piece in pieces[:MOST_PIECES]
            ],
            "others": _rest([piece.mass for piece in pieces[MOST_PIECES:]], reading.other_pieces),
        },
        "unknown": reading.unknown,
        "unknown_final": reading.unknown_final,
        "passes": reading.passes,
    }


def _masses(mass: Mass) -> dict[str, float]:
    return {"raw": mass.raw, "final": mass.final}


def _rest(masses: list[Mass], rest: Rest) -> dict[str, float]:
    """What this page leaves out, together with what the reading did."""
    return {
        "count": len(masses) + rest.count,
        "raw": sum(mass.raw for mass in masses) + rest.mass.raw,
        "final": sum(mass.final for mass in masses) + rest.mass.final,
    }
