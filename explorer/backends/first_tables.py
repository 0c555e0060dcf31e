"""First tables of an earlier start: what the page opens with while the model is on its way.

Rule: a table is shown only where the very weights, libraries and processor that computed it are
at work again, and only while its file is the one that was written. Any other is named in the
log and made anew. It is of a prompt that the app itself asks; what a user typed is never kept.
"""

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from explorer.backends.base import (
    BackendError,
    Continuations,
    Message,
    ModelInfo,
    ModelNeeded,
    ScoredToken,
    Token,
    check_token_id,
)
from explorer.backends.machine import processor
from explorer.backends.manifest import hashes, is_whole, seal
from explorer.decoding import Constraint, Distribution, Grammar, Spelling

if TYPE_CHECKING:  # torch takes seconds that the page need not wait for
    from explorer.backends.local import LocalBackend

log = logging.getLogger(__name__)

FORMAT = 1  # raise when what is computed or written changes, so that older tables are made anew
FOLDER = "first-tables"
TABLE = "table.safetensors"
LIBRARIES = ("torch", "transformers", "tokenizers")
MAX_BYTES = 32 * 2**20  # of a table: logits, and the bytes of all tokens
FACTS = "facts"

DAMAGED = (
    *(OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError),
    ImportError,  # a library whose version is not known
)
TYPES = {"logits": np.float32, "raw": np.uint8, "ends": np.int64, "special": np.bool_}

Arrays = dict[str, NDArray[Any]]


class FirstTable:
    """A model's answers to one prompt; what it can't know raises `ModelNeeded`."""

    def __init__(self, facts: dict[str, Any], arrays: Arrays) -> None:
        if {name: array.dtype for name, array in arrays.items()} != TYPES:
            raise ValueError("its arrays are others, or of other types")
        info = facts["info"]
        self.info = ModelInfo(**{**info, "end_token_ids": tuple(info["end_token_ids"])})
        self.text, self.chat = str(facts["text"]), bool(facts["chat"])
        self._scored = tuple(ScoredToken(*token) for token in facts["scored"])
        self._prefix = tuple(token.token_id for token in self._scored)
        self._raw, self._ends, self._special = (arrays[name] for name in ("raw", "ends", "special"))
        size = (self.info.vocab_size,)
        if not size == arrays["logits"].shape == self._ends.shape == self._special.shape:
            raise ValueError(f"its arrays are not all of {size[0]} tokens")
        if self._ends[-1] != len(self._raw) or np.any(np.diff(self._ends, prepend=0) < 0):
            raise ValueError("its tokens do not lie one after another")
        self._distribution = Distribution.from_logits(arrays["logits"])

    def encode(self, text: str) -> tuple[int, ...]:
        return _needs_model() if self.chat or text != self.text else self._prefix

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        stored = [{"role": "user", "content": self.text}]
        return self._prefix if self.chat and list(messages) == stored else _needs_model()

    def token(self, token_id: int) -> Token:
        check_token_id(token_id, self.info)
        start = self._ends[token_id - 1] if token_id else 0
        raw = self._raw[start : self._ends[token_id]].tobytes()
        return Token(token_id, raw, bool(self._special[token_id]))

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        return self._distribution if prefix == self._prefix else _needs_model()

    def score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        return self._scored if prefix == self._prefix else _needs_model()

    def next_distributions(self, prefixes: Sequence[tuple[int, ...]]) -> tuple[Distribution, ...]:
        _needs_model()

    def continuations(
        self, prefixes: Sequence[tuple[int, ...]], count: int
    ) -> tuple[Continuations, ...]:
        _needs_model()

    def spelling(self) -> Spelling:
        _needs_model()

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        _needs_model()


def _needs_model() -> NoReturn:
    raise ModelNeeded


class FirstTables:
    """One table for each model, in a folder of its own beside the models' folders."""

    def __init__(self, models_dir: Path) -> None:
        self._folder = models_dir / FOLDER
        self._lock = threading.Lock()
        self._found: dict[str, FirstTable | None] = {}
        self._kept: set[str] = set()  # and those that can't be

    def get(self, name: str, weights: Path) -> FirstTable | None:
        """The table of a model whose weights lie in this folder; read once."""
        with self._lock:
            if name not in self._found:
                self._found[name] = self._read(name, weights)
            return self._found[name]

    def forget(self, name: str) -> None:
        """The model is there, so its table is not needed until the next start."""
        with self._lock:
            self._found.pop(name, None)

    def keep(
        self, name: str, weights: Path, backend: "LocalBackend", text: str, chat: bool
    ) -> None:
        """Write a model's table for the next start, unless it is there; tried once.

        Not from a GPU: whether the same one is there cannot be known before torch is.
        """
        with self._lock:
            if name in self._kept or backend.info.device != "cpu":
                return
            self._kept.add(name)
        try:
            there = self._read(name, weights)
            if there is None or (there.text, there.chat) != (text, chat):
                self._write(name, weights, backend, text, chat)
        except (OSError, KeyError, ImportError) as error:  # no room, say, or only to be read
            log.warning("the first table of %s can't be kept for the next start: %s", name, error)
        except BackendError as error:  # too many wait for the model just now
            log.info("the first table of %s was not kept: %s", name, error)

    def _write(
        self, name: str, weights: Path, backend: "LocalBackend", text: str, chat: bool
    ) -> None:
        facts, arrays = table_of(backend, text, chat)
        facts["made_by"] = _made_by(weights)
        if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
            log.info("the first table of %s is too large to be kept", name)
            return
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f".{name}.lock"):
            new = self._folder / f".{name}.partial"
            save_file(arrays, new, {FACTS: json.dumps(facts)})
            new.replace(folder / TABLE)
            seal(folder)

    def _read(self, name: str, weights: Path) -> FirstTable | None:
        folder = self._folder / name
        if not (is_whole(folder) and is_whole(weights)):
            return None
        try:
            if (folder / TABLE).stat().st_size > 2 * MAX_BYTES:
                raise ValueError("it is too large")
            with safe_open(folder / TABLE, framework="numpy") as file:
                facts = json.loads(file.metadata()[FACTS])
                if facts["made_by"] != _made_by(weights):
                    raise ValueError("it was made by other weights, libraries or processors")
                arrays = {key: file.get_tensor(key) for key in file.keys()}
            return FirstTable(facts, arrays)
        except DAMAGED as error:
            log.warning("%s is not used, and made anew: %s", folder / TABLE, error)
            return None


def table_of(backend: "LocalBackend", text: str, chat: bool) -> tuple[dict[str, Any], Arrays]:
    """What a `FirstTable` is made of."""
    messages = [{"role": "user", "content": text}]
    prefix = backend.encode_chat(messages) if chat else backend.encode(text)
    scored = backend.score(prefix)
    distribution = backend.next_distribution(prefix)
    by_id = distribution.candidates.logits_of(np.arange(backend.info.vocab_size))
    raw, ends, special = bytearray(), [], []
    for token in backend.tokens():
        raw += token.raw
        ends.append(len(raw))
        special.append(token.special)
    facts = {
        "info": asdict(backend.info),
        "text": text,
        "chat": chat,
        "scored": [(one.token_id, one.logprob, one.rank, one.entropy) for one in scored],
    }
    return facts, {
        "logits": by_id.astype(np.float32),
        "raw": np.frombuffer(bytes(raw), dtype=np.uint8),
        "ends": np.array(ends, dtype=np.int64),
        "special": np.array(special),
    }


def _made_by(weights: Path) -> dict[str, Any]:
    """All that decides what a table says."""
    return {
        "format": FORMAT,
        "weights": hashes(weights),
        "libraries": {name: version(name) for name in LIBRARIES},
        "processor": processor(),
    }
