"""What is changed while a model loads is put back, and JSON reads as ever."""

import gc
import io
import json
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import tokenization_utils_base

from explorer.backends.calm import SWITCH_S, calmly, load_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)  # others run on this machine, too
@given(VALUES, st.sampled_from([None, 1]))
def test_json_reads_as_ever(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert load_json(io.StringIO(f" {text}\n")) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,", '{"a"}', '{"a": }', "[1] 2", "nul", '[[["a]]]', '{"a": {"b": ']
)
def test_what_is_no_json_is_refused_as_ever(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as ours:
        load_json(io.StringIO(text))
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    assert (ours.value.msg, ours.value.pos) == (theirs.value.msg, theirs.value.pos)


def test_all_is_put_back() -> None:
    interval = sys.getswitchinterval()
    with pytest.raises(KeyError), calmly():
        assert not gc.isenabled()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        assert tokenization_utils_base.json.load is load_json
        raise KeyError
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval
    assert tokenization_utils_base.json is json


def test_others_run_while_a_long_list_is_read() -> None:
    text = json.dumps({"model": {"merges": [[str(i), str(i + 1)] for i in range(300_000)]}})
    turns, done = [0], threading.Event()

    def other() -> None:
        while not done.is_set():
            turns[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=other)
    with calmly():
        thread.start()
        before = turns[0]
        load_json(io.StringIO(text))
        during = turns[0] - before
    done.set()
    thread.join()
    assert during > 20  # json.load lets nobody run
