"""Memory that really runs out, in a process of its own that may take no more."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import tiny
from tests.backends.wheels import ROOT

SCRIPT = """
import json, resource, sys, threading
import psutil
from explorer.backends import LocalModels
from explorer.backends.base import ModelUnavailable

small, large, models_dir = sys.argv[1:]
models = LocalModels(models_dir, small, public=False, budget_bytes=2**24)
first = models.get(small)
before = first.next_distribution((1, 2)).entropy
for thread in threading.enumerate():
    if thread.name.startswith("quicken"):
        thread.join()  # it takes memory, too

def taken():
    return psutil.Process().memory_info().vms

def limit(size):
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))

at_first = taken()
limit(at_first + 150 * 2**20)
try:
    models.get(large)
    error = None
except ModelUnavailable as caught:
    error = caught
after = taken()
limit(resource.RLIM_INFINITY)
print(json.dumps({
    "code": error and error.code,
    "facts": error and error.facts,
    "same": models.get(small) is first and first.next_distribution((1, 2)).entropy == before,
    "new": first.next_distribution((1, 2, 3)).entropy > 0,
    "kept": after - at_first,
    "then": models.get(large).info.vocab_size,
}))
"""
INNER = 2**20  # of each layer: three matrices of 128 MiB


def grow(folder: Path) -> None:
    """The same model with 768 MiB of weights, which are zeros that take no room on the disk."""
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] = INNER
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "model.safetensors"
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    at = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        if ".mlp." in name:
            tensor["shape"] = [n if n == config["hidden_size"] else INNER for n in tensor["shape"]]
        size = 4
        for n in tensor["shape"]:
            size *= n
        tensor["data_offsets"] = [at, at + size]
        at += size
    said = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(said)) + said)
    with path.open("r+b") as file:
        file.truncate(8 + len(said) + at)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_memory_that_runs_out_for_a_second_model_leaves_the_first_usable(tmp_path: Path) -> None:
    small = tiny.save_llama(tmp_path / "small")
    large = tiny.save_llama(tmp_path / "large")
    grow(large)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small), str(large), str(tmp_path / "models")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    said = json.loads(ended.stdout)
    assert said["code"] == "model_no_memory"
    assert said["facts"]["model"] == str(large)
    assert said["facts"]["needed"] == (large / "model.safetensors").stat().st_size
    assert said["facts"]["free"] > 0
    assert said["same"] and said["new"]
    assert said["kept"] < 100 * 2**20
    assert said["then"] == tiny.VOCAB_SIZE
