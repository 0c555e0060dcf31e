"""A first table is shown again only where it is certain what made it, and is never half there."""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from explorer.backends import LocalModels, first_tables, loading, local
from explorer.backends.base import ModelNeeded
from explorer.backends.catalogue import DEFAULT_MODEL
from explorer.backends.first_tables import FOLDER, TABLE, FirstTable, FirstTables
from explorer.backends.local import LocalBackend
from explorer.backends.manifest import MANIFEST, is_whole, seal
from explorer.decoding import Constraint
from tests.backends import tiny

NAME, TEXT = "tiny", "the dog"
OTHER = "the fox"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    seal(folder)
    return folder


@pytest.fixture
def backend() -> LocalBackend:
    one = tiny.backend("llama")
    one.info = replace(one.info, device="cpu")
    return one


@pytest.fixture
def kept(tmp_path: Path, weights: Path, backend: LocalBackend) -> Path:
    """The folder of a table that an earlier start kept."""
    FirstTables(tmp_path).keep(NAME, weights, backend, TEXT, False)
    return tmp_path / FOLDER / NAME


def found(weights: Path) -> FirstTable | None:
    """What the next start finds."""
    return FirstTables(weights.parent).get(NAME, weights)


@pytest.mark.parametrize("chat", [False, True])
def test_a_kept_table_answers_as_the_model_does(
    chat: bool, weights: Path, backend: LocalBackend
) -> None:
    FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, chat)
    table = found(weights)
    assert table and (table.text, table.chat, table.info) == (TEXT, chat, backend.info)
    messages = [{"role": "user", "content": TEXT}]
    prefix = backend.encode_chat(messages) if chat else backend.encode(TEXT)
    assert (table.encode_chat(messages) if chat else table.encode(TEXT)) == prefix
    assert table.score(prefix) == backend.score(prefix)
    ours, theirs = table.next_distribution(prefix), backend.next_distribution(prefix)
    assert ours.token_ids.tolist() == theirs.token_ids.tolist()
    assert ours.logits.tolist() == theirs.logits.tolist()
    assert [table.token(i) for i in range(tiny.VOCAB_SIZE)] == list(backend.tokens())


@pytest.mark.parametrize(
    "ask",
    [
        lambda table: table.encode(OTHER),
        lambda table: table.encode_chat([{"role": "user", "content": TEXT}]),
        lambda table: table.next_distribution((1, 2)),
        lambda table: table.next_distributions([(1,)]),
        lambda table: table.continuations([(1,)], 2),
        lambda table: table.score((1, 2)),
        lambda table: table.spelling(),
        lambda table: table.grammar(Constraint(regex="a"), 0),
    ],
)
def test_all_else_needs_the_model(
    ask: Callable[[FirstTable], object], kept: Path, weights: Path
) -> None:
    table = found(weights)
    assert table
    with pytest.raises(ModelNeeded):
        ask(table)


def other_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights / "model.safetensors").write_bytes(b"others!")
    seal(weights)


def damaged_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights / "model.safetensors").write_bytes(b"others!")


def another_library(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_tables, "version", lambda name: f"{name} of tomorrow")


def another_processor(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_tables, "processor", lambda: "another one")


def another_format(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_tables, "FORMAT", first_tables.FORMAT + 1)


def no_library(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_tables, "LIBRARIES", ("no-such-library-at-all",))


@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        damaged_weights,
        another_library,
        no_library,
        another_processor,
        another_format,
    ],
)
def test_a_table_is_bound_to_what_made_it(
    change: Callable[..., None],
    kept: Path,
    weights: Path,
    backend: LocalBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert found(weights)
    change(weights, monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert found(weights) is None
    assert "made anew" in caplog.text
    seal(weights)
    FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, False)
    assert bool(found(weights)) == (change is not no_library)


def change_one_bit(folder: Path) -> None:
    with (folder / TABLE).open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-5, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def truncate(folder: Path) -> None:
    os.truncate(folder / TABLE, 1000)


def remove_the_hashes(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def rewritten(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Callable[[Path], None]:
    """By somebody who sets the hashes right, too."""

    def rewrite(folder: Path) -> None:
        with safe_open(folder / TABLE, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            facts = json.loads(file.metadata()["facts"])
        change(facts, arrays)
        save_file(arrays, folder / TABLE, {"facts": json.dumps(facts)})
        seal(folder)

    return rewrite


def no_table_at_all(folder: Path) -> None:
    (folder / TABLE).write_bytes(b"\xff" * 100)
    seal(folder)


@pytest.mark.parametrize(
    "tamper",
    [
        change_one_bit,
        truncate,
        remove_the_hashes,
        no_table_at_all,
        rewritten(lambda facts, arrays: arrays.update(logits=arrays["logits"][:-1])),
        rewritten(lambda facts, arrays: arrays.update(logits=np.full(384, np.nan, np.float32))),
        rewritten(lambda facts, arrays: arrays.update(ends=arrays["ends"][::-1].copy())),
        rewritten(lambda facts, arrays: arrays.update(ends=arrays["ends"] - 1)),
        rewritten(lambda facts, arrays: arrays.update(ends=arrays["ends"].astype(np.float64))),
        rewritten(lambda facts, arrays: arrays.pop("special")),
        rewritten(lambda facts, arrays: facts["info"].update(more=1)),
        rewritten(lambda facts, arrays: facts.update(scored=[[0, 0, 0, 0, 0, 0]])),
        rewritten(lambda facts, arrays: facts.pop("made_by")),
    ],
)
def test_a_changed_table_is_not_shown_and_made_anew(
    tamper: Callable[[Path], None], kept: Path, weights: Path, backend: LocalBackend
) -> None:
    tamper(kept)
    assert found(weights) is None
    FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, False)
    assert found(weights)


def test_a_kill_while_a_table_is_written_leaves_none_that_is_half_there(
    kept: Path, weights: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    for name in ("save_file", "seal"):  # before the new file has its name, and after
        with monkeypatch.context() as patch:
            patch.setattr(first_tables, name, killed)
            with pytest.raises(Killed):
                FirstTables(weights.parent).keep(NAME, weights, backend, OTHER, False)
        before = found(weights)
        assert before is None or before.text == TEXT
    (kept.parent / f".{NAME}.partial").write_bytes(b"half")
    FirstTables(weights.parent).keep(NAME, weights, backend, OTHER, False)
    after = found(weights)
    assert after and after.text == OTHER


def test_there_is_one_table_for_each_model(
    kept: Path, weights: Path, backend: LocalBackend
) -> None:
    FirstTables(weights.parent).keep(NAME, weights, backend, OTHER, True)
    table = found(weights)
    assert table and (table.text, table.chat) == (OTHER, True)
    assert sorted(os.listdir(kept)) == [MANIFEST, TABLE]
    assert sorted(os.listdir(kept.parent)) == [f".{NAME}.lock", NAME]


def test_what_is_there_already_is_not_written_again(
    kept: Path, weights: Path, backend: LocalBackend
) -> None:
    before = (kept / TABLE).stat().st_ino
    FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, False)
    assert (kept / TABLE).stat().st_ino == before


def test_a_cache_that_can_not_be_written_is_told_once(
    weights: Path, backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    (weights.parent / FOLDER).write_text("a file stands where the folder goes")
    tables = FirstTables(weights.parent)
    for _ in range(3):
        tables.keep(NAME, weights, backend, TEXT, False)
    assert caplog.text.count("can't be kept for the next start") == 1
    assert found(weights) is None


def test_a_table_has_a_greatest_size(
    weights: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(first_tables, "MAX_BYTES", 1000)
        FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, False)
        assert not (weights.parent / FOLDER).exists()
    FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, False)
    assert found(weights)
    monkeypatch.setattr(first_tables, "MAX_BYTES", 1000)
    assert found(weights) is None


def test_nothing_is_kept_of_a_gpu(weights: Path, backend: LocalBackend) -> None:
    backend.info = replace(backend.info, device="cuda:0")
    FirstTables(weights.parent).keep(NAME, weights, backend, TEXT, False)
    assert not (weights.parent / FOLDER).exists()


Until = Callable[[Callable[[], bool], float], None]


def test_a_model_waits_for_the_page_and_its_table_does_not(
    tmp_path: Path, saved_llama: Path, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    folder = shutil.copytree(saved_llama, tmp_path / DEFAULT_MODEL)
    seal(folder)
    monkeypatch.setattr(loading, "ensure_weights", lambda *_: folder)

    def start(after_page: bool) -> LocalModels:
        return LocalModels(
            tmp_path, DEFAULT_MODEL, public=False, budget_bytes=2**24, after_page=after_page
        )

    first = start(after_page=False)
    first.get(DEFAULT_MODEL)
    assert first.early(DEFAULT_MODEL) is None  # the model itself is there
    first.keep_first_table(DEFAULT_MODEL, TEXT, False)
    until(lambda: is_whole(tmp_path / FOLDER / DEFAULT_MODEL), 20)

    began = threading.Event()
    open_local = local.open_local

    def opened(*args: Any, **options: Any) -> LocalBackend:
        began.set()
        return open_local(*args, **options)

    monkeypatch.setattr(local, "open_local", opened)
    second = start(after_page=True)
    second.request(DEFAULT_MODEL)
    until(lambda: second.status(DEFAULT_MODEL).phase == "loading", 20)
    early = second.early(DEFAULT_MODEL)
    assert early and len(early.next_distribution(early.encode(TEXT)).logits) == tiny.VOCAB_SIZE
    assert not began.wait(0.1)
    second.page_answers()
    assert second.get(DEFAULT_MODEL).encode(OTHER)
    assert second.early(DEFAULT_MODEL) is None


def test_a_user_s_own_folder_gets_no_table(tmp_path: Path, saved_llama: Path) -> None:
    models = LocalModels(tmp_path, DEFAULT_MODEL, public=False, budget_bytes=2**24)
    models.get(str(saved_llama))
    models.keep_first_table(str(saved_llama), TEXT, False)
    assert models.early(str(saved_llama)) is None
    assert models.early("gpt2") is None  # of the Hub: its files lie elsewhere
    assert not (tmp_path / FOLDER).exists()
