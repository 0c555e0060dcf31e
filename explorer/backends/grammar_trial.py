"""A grammar is compiled once in a process of its own, which may run out of time or memory.

llguidance bounds most of its work, but not all: a JSON schema such as
`{"type": "integer", "multipleOf": 9999991}` makes it ask for gigabytes while it compiles, and
an allocation that fails ends the process. Here that process is a small one that nobody
misses: this file is run as a script with the grammar on its standard input, and writes
what llguidance has to say against it.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

CPU_S = 3  # an ordinary schema takes milliseconds; Python and the library 0.1 s to start
MEMORY_BYTES = 256 * 2**20
PATIENCE_S = 30  # of the clock: the machine may be busy with other things
AT_ONCE = threading.BoundedSemaphore(2)  # a hostile crowd must not take every core

# 1 to 2 kB a state: what a grammar may grow to while it is used. All other limits are
# llguidance's own, which end a step within some hundredths of a second.
LIMITS = LLParserLimits(max_lexer_states=20_000, verbose_errors=False)


class Entries:
    """A vocabulary as llguidance reads it: the bytes of every id, and which are no text."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], special_token_ids: list[int], end: int) -> None:
        self.tokens = tokens
        self.special_token_ids = special_token_ids
        self.eos_token_id = end

    def __call__(self, text: str) -> list[int]:
        return []  # only asked for in order to force tokens, which our grammars switch off


def read_entries(entries: Entries) -> LLTokenizer:
    # Without slices: half the time to build for 262,144 tokens, at most 3 ms more for a mask.
    return LLTokenizer(TokenizerWrapper(entries), slices=[])


def objection(matcher: LLMatcher) -> str:
    """What llguidance says against a grammar it has compiled; nothing if it is fine.

    A warning says that part of a schema would be ignored.
    """
    return matcher.get_error() or "\n".join(matcher.get_grammar_warnings())


def try_out(lark: str, begins: Callable[[], None] = lambda: None) -> str | None:
    """What llguidance says against a grammar, "" if nothing; `None` if it did not get there.

    Calls `begins` when its turn has come, which may raise.
    """
    with AT_ONCE:
        begins()
        try:
            # -P: the folder of this file is no place to import from.
            done = subprocess.run(
                [sys.executable, "-P", __file__],
                input=lark.encode(),
                capture_output=True,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            return None
    return done.stdout.decode() if done.returncode == 0 else None


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not on Windows: there the clock alone bounds it
        return
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_DATA, MEMORY_BYTES),
    ):
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):  # a system that has no such limit
            resource.setrlimit(kind, (least, least))


if __name__ == "__main__":
    _limit()
    single_bytes = Entries([*(bytes([byte]) for byte in range(256)), b"<end>"], [256], 256)
    lark = sys.stdin.buffer.read().decode()
    tried = LLMatcher(read_entries(single_bytes), lark, log_level=0, limits=LIMITS)
    sys.stdout.buffer.write(objection(tried).encode())
