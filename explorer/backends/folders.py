"""A model's folder before it is read: what would take all memory or all time is refused.

The weights are looked at by safetensors itself, which believes no header that is longer than
its file. What is checked here is what transformers believes: numbers of parts, sizes of JSON.
"""

import json
from pathlib import Path
from typing import Any

from explorer.backends.base import ModelUnavailable

MAX_JSON = 256 * 2**20  # bytes; the largest tokenizers have some 35 MB
MAX_CONFIG = 2**20
MAX_PARTS = 4096  # layers, or experts in one; the largest models have a few hundred
PARTS = ("layer", "layers", "expert", "experts", "block", "blocks")


def path_of(name: str) -> Path | None:
    """The folder or `.gguf` file of this name, if there is one."""
    try:
        path = Path(name).expanduser()
        found = path.is_dir() or (path.suffix == ".gguf" and path.is_file())
    except (OSError, RuntimeError):  # a name too long for a file, or no such user's home
        return None
    return path if found else None


def check_folder(folder: Path) -> None:
    """`ModelUnavailable` for a folder whose files are beyond what any model needs."""
    for path in folder.glob("*.json"):
        most = MAX_CONFIG if path.name == "config.json" else MAX_JSON
        size = path.stat().st_size
        if size > most:
            _refuse(folder, f"{path.name} has {size:,} bytes; at most {most:,} are read")
    config = folder / "config.json"
    if config.is_file():
        try:
            _check_parts(folder, json.loads(config.read_bytes()))
        except (ValueError, RecursionError) as error:
            _refuse(folder, f"config.json is no JSON that can be read: {error}")


def _check_parts(folder: Path, config: Any) -> None:
    """A model of so many layers would be built before anybody sees that their weights lack."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if isinstance(value, dict):
            _check_parts(folder, value)
        elif isinstance(value, int) and key.split("_")[-1] in PARTS and value > MAX_PARTS:
            _refuse(folder, f"{key} in config.json is {value:,}; at most {MAX_PARTS:,} are built")


def _refuse(folder: Path, detail: str) -> None:
    raise ModelUnavailable(
        "not_loadable", f"can't load {folder}: {detail}", model=str(folder), detail=detail
    )
