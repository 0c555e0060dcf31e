"""Models leave memory under a budget, longest unused first, and come back when asked for."""

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from explorer.backends import LocalModels, fast_linear, loading, residents
from explorer.backends import local as backends_local
from explorer.backends.base import Backend, LoadStatus, ModelUnavailable
from explorer.backends.local import LocalBackend
from explorer.ui.actions import Actions
from explorer.ui.store import SessionStore
from tests.backends import tiny
from tests.ui.asking import KEY, token_ids, view

WAIT_S = 30
TEXT = "the quick brown fox"
SIZE = sum(tensor.numel() * tensor.element_size() for tensor in tiny.llama().parameters())
SLACK = 10_000  # a file has a header, a model has buffers
Make = Callable[..., LocalModels]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three models of one size."""
    first = tiny.save_llama(tmp_path_factory.mktemp("saved") / "a")
    return [str(first), *(str(shutil.copytree(first, first.parent / name)) for name in "bc")]


@pytest.fixture
def make(tmp_path: Path, folders: list[str]) -> Make:
    def make(*, room: float) -> LocalModels:
        return LocalModels(
            tmp_path,
            folders[0],
            public=False,
            budget_bytes=2**24,
            model_bytes=int(room * SIZE) + SLACK,
        )

    return make


@pytest.fixture
def no_gc() -> Any:
    """Nothing is freed but by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def local(backend: Backend) -> LocalBackend:
    assert isinstance(backend, LocalBackend)
    return backend


def ready(models: LocalModels, folders: list[str]) -> list[bool]:
    return [models.status(name).phase == "ready" for name in folders]


def use(models: LocalModels, name: str) -> Any:
    """Probabilities of what comes next, as one request reads them."""
    backend = models.get(name)
    return backend.next_distribution(backend.encode(TEXT)).logits


def weights_of(models: LocalModels, name: str) -> "weakref.ref[Any]":
    return weakref.ref(local(models.get(name)).model)


def test_who_was_used_longest_ago_leaves_first(make: Make, folders: list[str]) -> None:
    models, (a, b, c) = make(room=2), folders
    use(models, a)
    use(models, b)
    use(models, a)  # loaded before b, used after it
    use(models, c)
    assert ready(models, folders) == [True, False, True]
    assert models.status(b) == LoadStatus("idle")
    use(models, b)
    assert ready(models, folders) == [False, True, True]


def test_a_request_counts_as_use(make: Make, folders: list[str]) -> None:
    models, (a, b, c) = make(room=2), folders
    use(models, a)
    use(models, b)
    assert models.request(a).phase == "ready"
    use(models, c)
    assert ready(models, folders) == [True, False, True]


def test_nobody_leaves_while_there_is_room(make: Make, folders: list[str]) -> None:
    models = make(room=3)
    for name in folders:
        use(models, name)
    assert ready(models, folders) == [True, True, True]


@pytest.mark.usefixtures("no_gc")
def test_who_left_is_freed_at_once(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "collect", lambda: pytest.fail("a cycle holds the weights"))
    models, (a, b, _) = make(room=1), folders
    use(models, a)
    backend = models.get(a)
    backend.score(backend.encode(TEXT))
    backend.continuations([backend.encode(TEXT), (*backend.encode(TEXT), 5)], 3)
    backend.spelling()
    del backend
    freed = weights_of(models, a)
    use(models, b)
    assert freed() is None
    assert ready(models, folders) == [False, True, False]


def test_what_was_remembered_of_its_prefixes_is_forgotten(make: Make, folders: list[str]) -> None:
    models, (a, b, c) = make(room=2), folders
    use(models, a)
    memory = local(models.get(a))._memory
    of_one = memory.used_bytes
    use(models, b)
    assert memory.used_bytes == 2 * of_one
    prefix = models.get(b).encode(TEXT)
    use(models, c)
    assert memory.used_bytes == 2 * of_one
    assert memory.longest("cache", a, prefix) == (0, None)
    assert memory.get("distribution", a, prefix) is None
    assert memory.get("distribution", b, prefix) is not None


def test_it_comes_back_with_the_same_numbers(make: Make, folders: list[str]) -> None:
    models, (a, b, _) = make(room=1), folders
    before = use(models, a)
    use(models, b)
    assert ready(models, folders)[0] is False
    assert (use(models, a) == before).all()


def test_a_model_in_use_stays_and_an_idle_one_leaves(make: Make, folders: list[str]) -> None:
    models, (a, b, c) = make(room=2), folders
    in_use = models.get(a)
    use(models, b)  # used after a, but nobody works with it
    use(models, c)
    assert ready(models, folders) == [True, False, True]
    assert models.get(a) is in_use


def test_the_weights_of_who_leaves_in_use_are_awaited(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "GAP_S", 0.05)
    models, (a, b, _) = make(room=1), folders
    in_use = models.get(a)
    freed = weakref.ref(local(in_use).model)
    with ThreadPoolExecutor(2) as pool:
        loaded = pool.submit(use, models, b)
        deadline = time.monotonic() + WAIT_S
        while models.status(a).phase != "idle":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        again = pool.submit(use, models, a)  # waits for its turn to be loaded again
        assert in_use.next_distribution(in_use.encode(TEXT))  # goes on undisturbed
        assert freed() is not None
        assert not loaded.done()
        del in_use
        assert loaded.result(WAIT_S) is not None
        assert (again.result(WAIT_S) == loaded.result()).all()  # equal weights
    assert freed() is None


def test_patience_with_a_long_request_ends(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "GAP_S", 0.05)
    monkeypatch.setattr(loading, "PATIENCE_S", 0.3)
    models, (a, b, c) = make(room=1), folders
    long = models.get(a)
    use(models, b)
    assert ready(models, folders) == [False, True, False]
    assert long.next_distribution(long.encode(TEXT))
    freed = weakref.ref(local(long).model)
    del long
    use(models, c)
    assert freed() is None
    assert local(models.get(c))._memory.get("distribution", a, models.get(c).encode(TEXT)) is None


def test_who_asked_for_a_model_gets_it_before_it_may_leave(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residents, "FRESH_S", 1.0)
    models, (a, b, _) = make(room=1), folders
    models.request(a)
    deadline = time.monotonic() + WAIT_S
    while models.status(a).phase == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.001)
    models.request(b)  # its load begins as soon as the other one's ends
    seen = set()
    while models.status(b).phase != "ready":
        seen.add(models.status(a).phase)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "ready" in seen
    assert ready(models, folders) == [False, True, False]


def test_a_model_larger_than_the_budget(make: Make, folders: list[str]) -> None:
    models = make(room=0.5)
    with pytest.raises(ModelUnavailable) as caught:
        models.get(folders[0])
    assert caught.value.code == "model_over_budget"
    facts = caught.value.facts
    assert facts["allowed"] == int(0.5 * SIZE) + SLACK
    assert facts["needed"] == (Path(folders[0]) / "model.safetensors").stat().st_size
    assert "allowed for models" in str(caught.value)


def test_weights_that_grow_beyond_the_budget_when_loaded(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_weight_bytes", lambda folder: SIZE // 2)
    opened = []
    open_local = backends_local.open_local

    def remembered(source: Any, **options: Any) -> LocalBackend:
        backend = open_local(source, **options)
        opened.append(weakref.ref(backend.model))
        return backend

    monkeypatch.setattr(backends_local, "open_local", remembered)
    models = make(room=0.6)
    with pytest.raises(ModelUnavailable) as caught:
        models.get(folders[0])
    assert caught.value.facts["needed"] >= SIZE
    assert [weights() for weights in opened] == [None]


def test_nobody_leaves_for_a_model_that_would_not_fit_anyway(
    make: Make, folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, (a, b, c) = make(room=2), folders
    use(models, a)
    use(models, b)
    monkeypatch.setattr(loading, "_weight_bytes", lambda folder: 3 * SIZE)
    with pytest.raises(ModelUnavailable):
        use(models, c)
    assert ready(models, folders) == [True, True, False]


def test_nobody_leaves_for_what_others_take_only_to_be_faster(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_linear, "_mkl_is_slow_here", lambda: True)
    roomy, (a, b, _) = make(room=9), folders
    use(roomy, a)
    spare = roomy.usage().model_bytes / SIZE - 1
    assert spare > 0.1
    models = make(room=2 + spare / 2)
    use(models, a)
    use(models, b)
    assert ready(models, folders) == [True, True, False]
    assert models.usage().model_bytes <= (2 + spare / 2) * SIZE + SLACK


def test_such_copies_go_first_when_the_machine_itself_has_no_room(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_linear, "_mkl_is_slow_here", lambda: True)
    models, (a, b, _) = make(room=9), folders
    use(models, a)
    first = models._entries[a].resident
    assert first is not None and first.spare
    monkeypatch.setattr(loading, "free_memory", lambda: SIZE if first.spare else 2 * SIZE)
    use(models, b)
    assert ready(models, folders) == [True, True, False]


def test_an_idle_model_leaves_when_the_machine_itself_has_no_room(
    make: Make, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models, (a, b, _) = make(room=9), folders
    use(models, a)
    free = psutil.virtual_memory()._replace(available=SIZE // 2)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    use(models, b)
    assert ready(models, folders) == [False, True, False]


def test_four_threads_with_three_models_and_room_for_two(make: Make, folders: list[str]) -> None:
    models = make(room=2)
    expected = {name: use(make(room=3), name) for name in folders}
    end = time.monotonic() + 4
    barrier = threading.Barrier(4)

    def work(number: int) -> int:
        barrier.wait()
        rounds = 0
        while time.monotonic() < end or rounds < 3:
            name = folders[(number + rounds) % 3]
            assert (use(models, name) == expected[name]).all()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        counts = [future.result(60) for future in [pool.submit(work, i) for i in range(4)]]
    assert min(counts) >= 3
    assert sum(ready(models, folders)) <= 2


def test_a_session_goes_on_after_its_model_left(make: Make, folders: list[str]) -> None:
    models, (a, b, _) = make(room=1), folders
    actions = Actions(models, SessionStore())

    def act(action: str, **more: Any) -> dict[str, Any]:
        """What the page does: waits for a model that is on its way, then asks again."""
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = actions.act({"action": action, "key": KEY, **more})
            found = answer["ok"]
            if "status" not in found and "away" not in found:
                return answer
            assert time.monotonic() < deadline
            time.sleep(0.02)

    act("ask", prompt=TEXT, model=a)
    first = act("step")
    use(models, b)
    assert actions.act({"action": "step", "key": KEY})["ok"]["away"]["model"] == a
    second = act("step")
    assert token_ids(second)[:-1] == token_ids(first)
    use(models, b)
    assert act("text")["ok"]["text"].startswith(TEXT)
    use(models, b)
    act("undo")
    for row, before in zip(view(act("open"))["rows"], view(first)["rows"], strict=True):
        assert row["token_id"] == before["token_id"]
        assert row["probability"] == pytest.approx(before["probability"], abs=1e-6)

    act("ask", prompt=TEXT, model=b)
    assert models.status(a).phase == "idle"
    back = actions.act({"action": "undo", "key": KEY})["ok"]
    assert back["away"]["model"] == a  # not undone yet
    assert view(act("undo"))["model"]["name"] == a
    assert view(act("undo"))["length"] == view(first)["length"] - 1
