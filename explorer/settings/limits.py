"""How much anybody may ask for: every bound on what a client sends, in one place."""

from dataclasses import asdict, dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one session and one client may take.

    The defaults are for an app that its user runs; they are also the most that can be set.
    """

    # of what is asked
    prompt_characters: int = 2_000_000  # far more than any context holds
    prompt_tokens: int = 1_000_000  # a model's context is the other limit
    table_rows: int = 500  # of the page
    endpoint_rows: int = 5000  # of the endpoints
    run_tokens: int = 1000  # drawn by one request of the endpoints, or one run of the page
    beams: int = 16
    ahead_tokens: int = 50
    ahead_nodes: int = 1000
    followed_passes: int = 16  # that follow unfinished characters
    pinned_words: int = 12
    rolls: int = 100_000
    chain_characters: int = 2_000_000  # of its JSON
    # of what a session holds
    tree_nodes: int = 20_000  # deleted ones, too: undo brings them back
    undo_steps: int = 5000
    # of what comes in
    file_characters: int = 5_000_000  # of a session file
    link_characters: int = 200_000  # what the page makes is far shorter
    body_bytes: int = 32 * 2**20  # of any HTTP request
    # of what a client holds: an address, or a network of IPv6
    requests_at_once: int = 256  # for a model, from one client
    connections: int = 1000  # open, from one client
    # of what the server keeps for all
    sessions: int = 2000
    sessions_mib: int = 2048

    def with_changes(self, text: str) -> "Limits":
        """
        >>> Limits().with_changes("beams=4, rolls=100").beams
        4
        >>> Limits().with_changes("beams=0")
        Traceback (most recent call last):
        ValueError: --limits: beams must be a whole number from 1 to 16, got '0'
        """
        most = asdict(Limits())
        changes = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = (side.strip() for side in part.partition("="))
            if name not in most:
                raise ValueError(f"--limits: {name!r} must be one of {', '.join(most)}")
            # Digits alone: `int` would take "1_0" and digits of other scripts, too.
            if not (value.isascii() and value.isdigit() and 1 <= int(value[:20]) <= most[name]):
                raise ValueError(
                    f"--limits: {name} must be a whole number from 1 to {most[name]}, got {value!r}"
                )
            changes[name] = int(value)
        return replace(self, **changes)


NAMES = tuple(field.name for field in fields(Limits))

# A class behind one address still works; a stranger can take but a small part of the machine.
PUBLIC = Limits(
    prompt_characters=20_000,
    prompt_tokens=2048,
    endpoint_rows=500,
    run_tokens=200,
    beams=8,
    ahead_tokens=40,
    ahead_nodes=400,
    rolls=20_000,
    chain_characters=25_000,
    tree_nodes=4000,
    undo_steps=200,
    file_characters=1_000_000,
    link_characters=50_000,
    body_bytes=4 * 2**20,
    requests_at_once=40,
    connections=300,
    sessions=1000,
    sessions_mib=512,
)
