"""Loading a model without standing in the way of those who use another one.

What reads a large tokenizer holds Python's lock, and each step of a model needs that lock at
every one of its hundreds of operations. So here
- JSON is read entry by entry: all at once, a tokenizer of 30 MB takes a second, and
  transformers reads it twice;
- garbage is not collected: a million new objects make that happen again and again, and each
  time takes as long as several steps, for all objects of the process are looked at;
- a thread that is busy in Python hands over soon: otherwise each operation of a step waits.

What remains is the tokenizer's own building of its merges, which is one call into Rust.
"""

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json.decoder import JSONArray, JSONObject  # type: ignore[attr-defined]
from types import SimpleNamespace
from typing import IO, Any

SWITCH_S = 0.0002  # the default is 0.005
CHUNK = 2**20  # characters
SPACE = " \t\n\r"
DEPTH = 3  # tokenizer.json: the whole, its model, the vocabulary or merges in it

Scan = Callable[[str, int], tuple[Any, int]]  # the value that begins at a place, and its end


@contextmanager
def calmly() -> Iterator[None]:
    """For one load at a time: what it changes is the process's, and transformers'."""
    from transformers import tokenization_utils_base, tokenization_utils_tokenizers

    readers = (tokenization_utils_base, tokenization_utils_tokenizers)
    collecting, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    for module in readers:
        module.json = SimpleNamespace(**{**vars(json), "load": load_json})
    try:
        yield
    finally:
        for module in readers:
            module.json = json
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


def load_json(file: IO[str], **options: Any) -> Any:
    """What `json.load` gives, by many short calls into C instead of one long one."""
    text = "".join(iter(lambda: file.read(CHUNK), ""))
    if options:
        return json.loads(text, **options)
    start = len(text) - len(text.lstrip(SPACE))
    try:
        value, end = _scanner(DEPTH)(text, start)
    except StopIteration as error:
        raise json.JSONDecodeError("Expecting value", text, error.value) from None
    rest = text[end:].lstrip(SPACE)
    if rest:
        raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    return value


def _scanner(depth: int) -> Scan:
    """Reads values; the entries of objects and lists one by one, down to this depth."""
    at_once: Scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
    if depth == 0:
        return at_once
    inner = _scanner(depth - 1)
    names: dict[str, str] = {}

    def scan(text: str, at: int) -> tuple[Any, int]:
        begins = text[at : at + 1]
        if begins == "{":
            found: tuple[Any, int] = JSONObject((text, at + 1), True, inner, None, None, names)
            return found
        if begins == "[":
            found = JSONArray((text, at + 1), inner)
            return found
        return at_once(text, at)

    return scan
