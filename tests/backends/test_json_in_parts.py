"""JSON that is taken apart reads as ever; what is none is refused as ever."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from explorer.backends import json_in_parts
from explorer.backends.json_in_parts import load_in_parts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
TEXTS = st.builds(
    lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only),
    VALUES,
    st.sampled_from([None, 0, 1, 2, "\t"]),
    st.booleans(),
)
FAULTS = st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from('[]{},:"\\ \n1a'))


@pytest.fixture(params=[1, 7, 30])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_in_parts, "PART", request.param)


def read(text: str, reads: object) -> object:
    assert callable(reads)
    try:
        return repr(reads(text.encode("utf-8", "surrogatepass")))  # repr tells 1 from 1.0 and True
    except ValueError as error:
        return type(error), str(error)


@pytest.mark.usefixtures("small_parts")
@settings(deadline=None)
@given(TEXTS)
@example('{\n "a": 1,\n "a": 2,\n "b": [\n  1,\n  2\n ]\n}')  # the last of the same name counts
@example('{\n "a\\"": [\n  "long enough to be taken apart",\n  "\\\\"\n ]\n}')
@example("[\n [1,\n 2],\n [3,\n 4]\n]")  # the same indentation inside
def test_it_reads_as_ever(text: str) -> None:
    assert read(f" {text}\n", load_in_parts) == read(f" {text}\n", json.loads)


@pytest.mark.usefixtures("small_parts")
@settings(deadline=None)
@given(TEXTS, st.lists(FAULTS, min_size=1, max_size=3))
@example("[\n 1,\n 2\n]", [(4, 0, ",")])
@example('{\n "a": 1,\n "b": [\n  1\n ]\n}', [(13, 1, "1")])
def test_broken_text_is_refused_as_ever(text: str, faults: list[tuple[int, int, str]]) -> None:
    for place, length, instead in faults:
        at = place % (len(text) + 1)
        text = text[:at] + instead + text[at + length :]
    assert read(text, load_in_parts) == read(text, json.loads)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("data", [b"\xff", b'{\n "\xff": [\n  1,\n  2\n ]\n}', b'["\xff",\n "b"]'])
def test_what_is_no_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        load_in_parts(data)


@pytest.mark.usefixtures("small_parts")
def test_other_encodings_are_found_as_ever() -> None:
    assert load_in_parts(json.dumps(["ä", "b"], indent=1).encode("utf-16")) == ["ä", "b"]


def test_no_call_reads_much_of_a_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = {
        "added_tokens": [{"id": i, "content": f"<{i}>"} for i in range(5000)],
        "model": {
            "type": "BPE",
            "vocab": {f"token {i}": i for i in range(50_000)},
            "merges": [[str(i), str(i + 1)] for i in range(100_000)],
        },
    }
    lengths = []
    plain = json.loads

    def loads(data: bytes) -> object:
        lengths.append(len(data))
        return plain(data)

    monkeypatch.setattr(json_in_parts.json, "loads", loads)
    data = json.dumps(tokenizer, indent=2).encode()
    assert load_in_parts(data) == tokenizer
    assert max(lengths) <= json_in_parts.PART + 2
    assert sum(lengths) > 0.9 * len(data)
