"""Folders that somebody made to do harm, or that hold something else than a model of text."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from explorer.backends import LocalModels, folders
from tests.backends.loads import why


def header_of_a_terabyte(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(struct.pack("<Q", 2**40))


def header_of_a_terabyte_in_a_file_of_one(folder: Path) -> None:
    header_of_a_terabyte(folder)
    os.truncate(folder / "model.safetensors", 2**40 + 8)  # sparse: it takes no room


def tensor_beyond_the_file(folder: Path) -> None:
    header = {"model.norm.weight": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}
    said = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(said)) + said)


def truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size // 2)


def deep_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 200_000)


def deep_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[" * 200_000)


def huge_config(folder: Path) -> None:
    os.truncate(folder / "config.json", folders.MAX_CONFIG + 1)


def huge_tokenizer(folder: Path) -> None:
    os.truncate(folder / "tokenizer.json", folders.MAX_JSON + 1)  # sparse


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def weights_that_lack_one(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, path, {"format": "pt"})


def code_of_a_stranger(folder: Path) -> None:
    change_config(model_type="strange", auto_map={"AutoConfig": "evil.Config"})(folder)
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def masked(folder: Path) -> None:
    config = BertConfig(
        vocab_size=384, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)


def translating(folder: Path) -> None:
    config = T5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (header_of_a_terabyte, ""),
        (tensor_beyond_the_file, ""),
        (truncated_weights, ""),
        (deep_config, "config.json"),
        (deep_tokenizer, ""),
        (huge_config, "config.json has"),
        (huge_tokenizer, "tokenizer.json has"),
        (change_config(num_hidden_layers=10**9), "num_hidden_layers in config.json is"),
        (change_config(text_config={"num_experts": 10**9}), "num_experts in config.json is"),
        (change_config(hidden_size=10**9), None),
        (change_config(vocab_size=10**12), None),
        (change_config(model_type="no-such-kind"), "no-such-kind"),
        (no_tokenizer, "tokenizer"),
        (weights_that_lack_one, "its weights lack model.layers.0.mlp.up_proj.weight"),
        (code_of_a_stranger, "custom code"),
        (masked, "BertForMaskedLM, which does not predict a next token"),
        (translating, "T5"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_folder_is_refused_in_words_and_the_other_models_go_on(
    spoil: Callable[[Path], None],
    says: str | None,
    fresh: LocalModels,
    saved_llama: Path,
    tmp_path: Path,
) -> None:
    there = fresh.get(str(saved_llama))
    folder = shutil.copytree(saved_llama, tmp_path / "spoilt")
    spoil(folder)
    error = why(fresh, str(folder))
    assert error.code == ("model_not_loadable" if says is not None else "model_no_memory")
    assert (says or "") in str(error)
    assert not (folder / "ran").exists()
    assert fresh.get(str(saved_llama)) is there
    assert there.next_distribution((1, 2)).entropy > 0


def test_a_file_that_says_it_is_a_terabyte_does_not_fit(
    fresh: LocalModels, saved_llama: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved_llama, tmp_path / "spoilt")
    try:
        header_of_a_terabyte_in_a_file_of_one(folder)
    except OSError:
        pytest.skip("this disk has no sparse files of a terabyte")
    error = why(fresh, str(folder))
    assert error.code == "model_over_budget"
    assert error.facts["needed"] == 2**40 + 8
