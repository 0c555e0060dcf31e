"""A long JSON file read in many short calls, between which other threads run.

`json.loads` holds Python's lock until it has read everything: a third of a second for a tokenizer
of 30 MB. Such files are indented, and that shows where they can be taken apart: JSON allows no
line break inside a string, so a comma before one stands between two entries. Entries of the same
list or object are read some thousand at a time.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

PART = 2**17  # bytes that are read at once: about a millisecond
SPACE = b" \t\n\r"
NAME = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:')


def load_in_parts(data: bytes) -> Any:
    """What `json.loads` gives. Where the indentation tells nothing, it reads all at once.

    >>> load_in_parts(b'[1, {"a": 2}]')
    [1, {'a': 2}]
    """
    try:
        return _value(data, 0, len(data))
    except ValueError:  # indented in some other way; or no JSON at all, which is said now
        return json.loads(data)


def _value(data: bytes, start: int, end: int) -> Any:
    """The value between two places. `ValueError` where it can't be taken apart."""
    start, end = _trimmed(data, start, end)
    if end - start <= PART:
        return json.loads(data[start:end])
    kind = data[start : start + 1] + data[end - 1 : end]
    if kind not in (b"[]", b"{}"):
        raise ValueError("neither a list nor an object")
    begins, end = _trimmed(data, start + 1, end - 1)
    indent = data[start + 1 : begins]
    if not indent.startswith(b"\n"):
        raise ValueError("not indented")
    items: list[Any] = []
    entries: dict[str, Any] = {}
    for start, stop, is_one in _parts(data, begins, end, indent):
        if kind == b"[]":
            items += (
                [_value(data, start, stop)] if is_one else json.loads(b"[%b]" % data[start:stop])
            )
        else:
            entries.update(
                _entry(data, start, stop) if is_one else json.loads(b"{%b}" % data[start:stop])
            )
    return items if kind == b"[]" else entries


def _trimmed(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Without the space around it."""
    while start < end and data[start] in SPACE:
        start += 1
    while start < end and data[end - 1] in SPACE:
        end -= 1
    return start, end


def _parts(data: bytes, start: int, end: int, indent: bytes) -> Iterator[tuple[int, int, bool]]:
    """Entries at this indentation: as many as a part holds, or one that is longer."""
    comma = re.compile(b"," + re.escape(indent) + rb"(?!\s)")
    while True:
        stop = end if end - start <= PART else _last(comma, data, start)
        is_one = stop is None
        if stop is None:
            found = comma.search(data, start + PART - len(indent), end)
            stop = found.start() if found else end
        if start == stop:
            raise ValueError("an entry is missing")
        yield start, stop, is_one
        if stop == end:
            return
        start = stop + 1  # after the comma


def _last(comma: re.Pattern[bytes], data: bytes, start: int) -> int | None:
    """The last comma between entries within a part; `None` if there is none."""
    end = start + PART
    while (end := data.rfind(b",\n", start, end)) >= 0:
        if comma.match(data, end):
            return end
    return None


def _entry(data: bytes, start: int, end: int) -> dict[str, Any]:
    """One entry of an object, whose value is long."""
    start, end = _trimmed(data, start, end)
    named = NAME.match(data, start, end)
    if named is None:
        raise ValueError("a name is missing")
    return {json.loads(named[1]): _value(data, named.end(), end)}
