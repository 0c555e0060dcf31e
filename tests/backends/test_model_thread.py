"""All models compute on one thread, whoever asks."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from explorer.backends import model_thread
from explorer.backends.model_thread import let_pass, on_model_thread
from tests.backends import tiny


def test_everybody_gets_the_same_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: on_model_thread(threading.get_ident), range(50)))
    assert len(set(names)) == 1
    assert names[0] != threading.get_ident()


def test_work_that_asks_for_the_thread_again_has_it() -> None:
    assert on_model_thread(lambda: on_model_thread(lambda: 3)) == 3


def test_errors_come_back() -> None:
    with pytest.raises(ZeroDivisionError):
        on_model_thread(lambda: 1 / 0)


def test_a_model_computes_there_and_nowhere_else() -> None:
    backend = tiny.backend("llama")
    seen = set()
    backend.model.register_forward_pre_hook(lambda *_: seen.add(threading.get_ident()))
    backend.next_distribution((5, 6))
    backend.next_distributions([(5, 6, 7), (5, 6, 8)])
    backend.continuations([(5, 6, 9)], 3)
    backend.score((5, 6, 7, 8, 9))
    assert seen == {on_model_thread(threading.get_ident)}


def in_another_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_who_lets_a_pass_go_first_waits_for_its_end_and_no_longer() -> None:
    let_pass()  # nothing is under way
    begun, go_on, waited, second = (threading.Event() for _ in range(4))

    def one_pass(end: threading.Event) -> None:
        begun.set()
        assert end.wait(60)

    passes = [in_another_thread(lambda: on_model_thread(one_pass, go_on))]
    assert begun.wait(60)
    passes.append(in_another_thread(lambda: on_model_thread(one_pass, second)))
    loader = in_another_thread(lambda: (let_pass(), waited.set()))
    assert not waited.wait(0.05)
    go_on.set()
    assert waited.wait(60)  # while the second pass is under way
    second.set()
    for thread in (*passes, loader):
        thread.join()


def test_nobody_waits_for_ever_for_a_pass_that_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_thread, "PATIENCE_S", 0.01)
    held, begun = threading.Lock(), threading.Event()

    def one_pass() -> None:
        begun.set()
        with held:
            pass

    with held:
        thread = in_another_thread(lambda: on_model_thread(one_pass))
        assert begun.wait(60)
        let_pass()
        assert thread.is_alive()
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    on_model_thread(lambda: None)
    child = os.fork()
    if child == 0:
        os._exit(on_model_thread(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
