"""One user's exploration, as values that never change."""

from explorer.session.beam import BeamSearch
from explorer.session.characters import (
    Character,
    CharacterReading,
    Mass,
    Piece,
    Rest,
    Silent,
    Way,
    read_characters,
)
from explorer.session.cover import Cover
from explorer.session.generation import Drawn, continue_text, draw_next
from explorer.session.look_ahead import AheadNode, DrawnPath, Path, Search, run, tail
from explorer.session.reading import Candidate, PathToken, Reading, read, read_candidates, read_path
from explorer.session.scoring import bits_per_byte, bits_per_token, perplexity, unlisted
from explorer.session.session import Prompt, Session
from explorer.session.state import (
    MAX_LINK,
    StateRefused,
    from_link,
    session_from,
    state_of,
    to_link,
)
from explorer.session.tracing import trace_prefix
from explorer.session.tree import Choice, How, Node, Tree
from explorer.session.words import FirstToken, Likelihood, WordReading, read_word

__all__ = [
    "MAX_LINK",
    "AheadNode",
    "BeamSearch",
    "Candidate",
    "Character",
    "CharacterReading",
    "Choice",
    "Cover",
    "Drawn",
    "DrawnPath",
    "FirstToken",
    "How",
    "Likelihood",
    "Mass",
    "Node",
    "Path",
    "PathToken",
    "Piece",
    "Prompt",
    "Reading",
    "Rest",
    "Search",
    "Session",
    "Silent",
    "StateRefused",
    "Tree",
    "Way",
    "WordReading",
    "bits_per_byte",
    "bits_per_token",
    "continue_text",
    "draw_next",
    "from_link",
    "perplexity",
    "read",
    "read_candidates",
    "read_characters",
    "read_path",
    "read_word",
    "run",
    "session_from",
    "state_of",
    "tail",
    "to_link",
    "trace_prefix",
    "unlisted",
]
