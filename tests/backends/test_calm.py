"""Loading that leaves others alone: what it changes is put back."""

import gc
import sys
import threading
import time

import pytest

from explorer.backends import calm
from explorer.backends.calm import BURST_S, SWITCH_S, calmly


def test_all_is_put_back() -> None:
    interval = sys.getswitchinterval()
    with pytest.raises(KeyError), calmly():
        assert not gc.isenabled()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        raise KeyError
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval


def calls(seconds: float) -> None:
    """Compute for so long, in short calls."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))


@pytest.mark.parametrize("give_way", [True, False])
def test_passes_go_first_where_they_may(give_way: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(calm, "let_pass", lambda: asked.append(threading.current_thread().name))
    mine = threading.current_thread().name
    with calmly(give_way=give_way):
        other = threading.Thread(target=calls, args=[5 * BURST_S])
        other.start()
        other.join()
        calls(5 * BURST_S)
    calls(5 * BURST_S)
    assert set(asked) == ({mine} if give_way else set())
    assert len(asked) <= 5
    assert sys.getprofile() is None
