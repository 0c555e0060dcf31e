"""One user's exploration, as values that never change."""

from explorer.session.generation import Drawn, continue_text, draw_next
from explorer.session.reading import Candidate, PathToken, Reading, read, read_candidates, read_path
from explorer.session.scoring import bits_per_byte, bits_per_token, perplexity
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

__all__ = [
    "MAX_LINK",
    "Candidate",
    "Choice",
    "Drawn",
    "How",
    "Node",
    "PathToken",
    "Prompt",
    "Reading",
    "Session",
    "StateRefused",
    "Tree",
    "bits_per_byte",
    "bits_per_token",
    "continue_text",
    "draw_next",
    "from_link",
    "perplexity",
    "read",
    "read_candidates",
    "read_path",
    "session_from",
    "state_of",
    "to_link",
    "trace_prefix",
]
