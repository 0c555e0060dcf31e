"""What a folder of weights or a first table holds, written when it was made: names, sizes, hashes.

Rule: a folder is used only while its files are those that were made. The size of each file is
looked at every time. Its bytes are read again only when the system says that the file was
touched: that time no user can set.
"""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MANIFEST = "complete.json"
FORMAT = 1  # raise when the conversion changes, so that older folders are made anew
MAX_BYTES = 2**20  # of a manifest


def seal(folder: Path) -> None:
    """Write what a folder holds, and have it all on the disk."""
    paths = [path for path in sorted(folder.iterdir()) if path.name != MANIFEST]
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    manifest = {
        "format": FORMAT,
        "files": {path.name: path.stat().st_size for path in paths},
        "sha256": {path.name: sha256(path) for path in paths},
        "touched": {path.name: _touched(path) for path in paths},
    }
    _write(folder, manifest)


def is_whole(folder: Path) -> bool:
    """Whether a folder holds all files as they were made; the log says which does not."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            manifest = json.loads(file.read(MAX_BYTES))
        return manifest["format"] == FORMAT and _is_as_made(folder, manifest)
    except FileNotFoundError:
        return False  # nothing was made yet, or not to its end
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s can't be read, so its folder is made anew: %s", folder / MANIFEST, error)
        return False


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file as it was made, of a folder that is whole."""
    found: dict[str, str] = json.loads((folder / MANIFEST).read_bytes())["sha256"]
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _touched(path: Path) -> list[int]:
    """What the system changes whenever a file is written to, replaced or copied."""
    stat = path.stat()
    return [stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _is_as_made(folder: Path, manifest: dict[str, Any]) -> bool:
    hashes = manifest.get("sha256", {})  # a folder of before there were any gets them now
    for name, size in manifest["files"].items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            says = "is missing" if found is None else f"has {found} bytes, not {size}"
            log.warning("%s %s, so its folder is made anew", path, says)
            return False
    touched = {name: _touched(folder / name) for name in manifest["files"]}
    if hashes and manifest.get("touched") == touched:
        return True
    actual = {name: sha256(folder / name) for name in touched}
    for name, expected in hashes.items():
        if actual.get(name) != expected:
            says = f"{folder / name} has the SHA-256 {actual.get(name)}, expected {expected}"
            log.warning("%s, so its folder is made anew", says)
            return False
    try:
        _write(folder, {**manifest, "sha256": actual, "touched": touched})
    except OSError as error:  # a folder that may only be read
        log.info("%s is read in full at each start: %s", folder, error)
    return True


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    new = folder / f".{MANIFEST}.{os.getpid()}"
    with new.open("w") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / MANIFEST)
