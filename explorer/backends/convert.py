"""Turn a GGUF file into transformers' own format.

`python -m explorer.backends.convert SOURCE TARGET`

Runs as a process of its own, so that the page stays quick while 20 seconds of conversion
run, and the memory of it goes back to the machine.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(source: Path, target: Path) -> None:
    """Write model and tokenizer of a GGUF file to the folder `target`, as float32 safetensors."""
    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    _mend_pre_tokenizer(tokenizer, source)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # The weights are plain float32 now; what says they are quantised would stop the saving.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _mend_pre_tokenizer(tokenizer: Any, source: Path) -> None:
    """SmolLM2 splits digits off before byte-level BPE; transformers' reading of GGUF forgets it.

    Without this, two spaces before a digit get other ids than the model was trained on.
    """
    field = GGUFReader(source).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)  # whoever uses the app meanwhile comes first
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
