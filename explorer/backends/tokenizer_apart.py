"""A tokenizer that lives in a process of its own, and is asked from here.

What builds a tokenizer is one call into Rust that holds Python's lock: 0.6 s for 262,144
entries, in which nobody else's step or click goes on. In another process it holds that one's.
"""

import logging
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from transformers import AutoTokenizer

from explorer.backends import tokenizer_process
from explorer.backends.tokenizer_process import REFUSED

log = logging.getLogger(__name__)

PART = 4096  # entries that are read at once: about a millisecond
QUIET = {"TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}  # that torch is missing is meant


class Gone(Exception):
    """The other process ended, or was never able to begin."""


class TokenizerApart:
    """What `Tokenizing` asks of a transformers tokenizer; one caller at a time.

    Making one starts the process, and `tokenizer` waits until it has loaded. Should the process
    ever fail, the tokenizer is loaded here instead: that makes others wait, or raises what stood
    in the way, but nobody loses anything.
    """

    def __init__(self, source: str | Path) -> None:
        self._source = str(source)
        self._process = subprocess.Popen(
            # -P: the folder of that file is no place to import from.
            [sys.executable, "-P", tokenizer_process.__file__, self._source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **QUIET},
        )
        self._owner = os.getpid()
        self._here: Any = None
        self.end = weakref.finalize(self, _end, self._process, self._owner)

    def tokenizer(self) -> Any:
        """This one, once it has loaded; transformers' own where the process could not.

        Raises what transformers raises where there is no such tokenizer.
        """
        try:
            facts = self._ask("facts")
            size = facts.pop("size")
            self._entries: list[str | None] = []
            for first in range(0, size, PART):
                self._entries += self._ask("entries", first, min(first + PART, size))
        except (Gone, RuntimeError) as error:
            return self._load_here(error)
        self.backend_tokenizer = SimpleNamespace(decoder=facts.pop("decoder"))
        self.added_tokens_decoder = facts["added_tokens_decoder"]
        self.bos_token_id = facts["bos_token_id"]
        self.eos_token_id = facts["eos_token_id"]
        self.chat_template = facts["chat_template"]
        return self

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        if self._here is None:
            try:
                return {"input_ids": self._ask("encode", text, **options)}
            except Gone as error:
                self._load_here(error)
        return {"input_ids": self._here(text, **options)["input_ids"]}

    def apply_chat_template(
        self, messages: list[dict[str, str]], **options: Any
    ) -> dict[str, list[int]]:
        if self._here is None:
            try:
                return {"input_ids": self._ask("encode_chat", messages, **options)}
            except Gone as error:
                self._load_here(error)
        return {"input_ids": self._here.apply_chat_template(messages, **options)["input_ids"]}

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> str | list[str | None] | None:
        """The entry of an id, or a list of those of many; `None` past the last entry."""
        if isinstance(ids, int):
            return self._entries[ids] if ids < len(self._entries) else None
        entries = self._entries
        return [entries[one] if one < len(entries) else None for one in ids]

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Raises what the template raises, `RuntimeError` for other errors there, or `Gone`."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        if os.getpid() != self._owner:
            raise Gone("a forked process would read what its parent asks for")
        try:
            pickle.dump((method, arguments, options), process.stdin)
            process.stdin.flush()
            trouble, answer = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise Gone("it ended") from error
        if trouble == REFUSED:
            raise jinja2.TemplateError(answer)
        if trouble:
            raise RuntimeError(answer)
        return answer

    def _load_here(self, why: Exception) -> Any:
        log.warning(
            "the process that has the tokenizer of %s fails (%s); this one loads it",
            self._source,
            why,
        )
        self.end()
        self._here = AutoTokenizer.from_pretrained(self._source, trust_remote_code=False)
        return self._here


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() != owner:  # a fork of the owner ends, which still needs it
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # something was left to write, and nobody reads it
                pipe.close()
