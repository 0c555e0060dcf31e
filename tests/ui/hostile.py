"""What an attacker would send: bare values, and sound requests bent a little."""

import copy
from typing import Any

from hypothesis import strategies as st

KEY = "123e4567-e89b-12d3-a456-426614174000"


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


NUMBERS: list[Any] = [
    *(0, -1, 1, 2, 4, 5, 6, 7, 499, 500, 501, 49_151, 49_152, 2**31 - 1, 2**31, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**19, 10**400, -(10**400), 10**4000),
    *(0.0, -0.0, 0.5, 1.0, -1.5, 5e-324, 1e-300, 1e300, 1.7976931348623157e308),
    *(float("nan"), float("inf"), float("-inf")),
]
TEXTS = [
    *("", "a", " b", "あ", "\ud800", "a\udfff", "\0", "a\0b", "\u202e", "\ufeff", "%s%n{0}${1}"),
    *("x" * 101, "x" * 1001, "1e5", "None", "__class__", "../../etc/passwd", "<script>"),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
)
STRUCTURES = st.sampled_from(
    [nested(3), nested(60), nested(500), [[]], [None] * 100, list(range(300)), {"": {}}, {"a": [1]}]
)
# Whatever JSON can say, and some that it can't.
VALUES = st.one_of(
    SCALARS,
    STRUCTURES,
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=8,
    ),
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be put instead of what is there: every field, every entry."""
    found = [here] if here else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*here, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += places(inner, (*here, number))
    return found


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


@st.composite
def bent(draw: st.DrawFn, sound: Any, most: int = 3) -> Any:
    """A sound value of JSON with a few of its parts replaced, left out, doubled or added to."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, most))):
        options = places(value)
        if not options:
            return copy.deepcopy(draw(VALUES))
        place = draw(st.sampled_from(options))
        outer, last = _at(value, place[:-1]), place[-1]
        way = draw(st.sampled_from(["replace", "replace", "leave out", "double", "add", "swap"]))
        if way == "replace":
            outer[last] = copy.deepcopy(draw(VALUES))
        elif way == "leave out":
            del outer[last]
        elif way == "double" and isinstance(outer, list):
            outer.insert(last, copy.deepcopy(outer[last]))
        elif way == "add" and isinstance(outer[last], dict):
            outer[last][draw(st.text(max_size=8))] = copy.deepcopy(draw(VALUES))
        elif way == "add" and isinstance(outer[last], list):
            outer[last].append(copy.deepcopy(draw(VALUES)))
        else:
            other = draw(st.sampled_from(options))
            outer[last] = copy.deepcopy(_at(value, other)) if other[: len(place)] != place else None
    return value
