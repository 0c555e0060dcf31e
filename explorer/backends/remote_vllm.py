"""vLLM: token ids in and out, the whole vocabulary where `--max-logprobs -1` permits it.

vLLM sends token ids, not their bytes, so the vocabulary is read from the model's own tokenizer
files: those named with `--tokenizer`, or else the folder or Hub id that the server says it
serves. That these are the server's is tried out on a text.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from explorer.backends.base import (
    Message,
    ModelInfo,
    RemoteFailed,
    ScoredToken,
    Token,
)
from explorer.backends.logit_rows import score_rows
from explorer.backends.prefix_memory import Prefix
from explorer.backends.remote import Scoring, Sent
from explorer.backends.remote_server import Server, choices_of, not_understood, served_model
from explorer.backends.tokenizing import Tokenizing
from explorer.backends.vocabulary import tokenizer_family

TRIAL = "The capital of 日本 is\n  42é"  # a text that tokenizers differ on
LEAST = -9999.0  # what vLLM writes for -inf, which JSON does not have
ENTRIES = 400_000  # logprobs in one answer; a vocabulary of 49,152 is 1.8 MB of JSON
# The same of prompts, where each takes the server longer: about a second for 49,152.
SCORE_ENTRIES = 20_000
# Raw logprobs whatever the server's defaults are: each filter off, temperature 1.
UNFILTERED = {
    "temperature": 1,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


class VllmDialect:
    """One model of a vLLM server."""

    scoring: Scoring = "at once"

    def __init__(
        self, server: Server, served: str, tokenizing: Tokenizing, info: ModelInfo, at_most: int
    ) -> None:
        self.info = info
        self.at_most = at_most
        self._server = server
        self._served = served
        self._tokenizing = tokenizing

    def encode(self, text: str) -> tuple[int, ...]:
        return self._tokenizing.encode(text)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self._tokenizing.encode_chat(messages)

    def token(self, token_id: int) -> Token:
        return self._tokenizing.token(token_id)

    def tokens(self) -> Iterator[Token]:
        return self._tokenizing.tokens()

    def after_each(self, prefixes: Sequence[Prefix], count: int) -> list[Sent]:
        sent: list[Sent] = []
        together = max(1, ENTRIES // count)
        for first in range(0, len(prefixes), together):
            group = prefixes[first : first + together]
            choices = self._complete([list(prefix) for prefix in group], count)
            most = min(count, self.at_most)  # which may have become less
            sent += [_sent_after(choice, most) for choice in choices]
        return sent

    def score(self, prefix: Prefix) -> tuple[tuple[ScoredToken, ...], Sent]:
        size = self.info.vocab_size
        whole = self.at_most >= size and len(prefix) * size <= SCORE_ENTRIES
        choice = self._complete(
            [list(prefix)], self.at_most, prompt_logprobs=self.at_most if whole else 0
        )[0]
        rows = choice.get("prompt_logprobs")
        if not isinstance(rows, list) or len(rows) != len(prefix):
            raise not_understood("it has no logprob for each token of the text")
        scored = [ScoredToken(prefix[0])]
        for row, token_id in zip(rows[1:], prefix[1:], strict=True):
            scored.append(_scored(row, token_id, size if whole else None))
        return tuple(scored), _sent_after(choice, self.at_most)

    def _complete(self, prompts: list[list[int]], count: int, **more: object) -> list[Any]:
        body = {
            "model": self._served,
            "prompt": prompts,
            "max_tokens": 1,
            "logprobs": count,
            "return_tokens_as_token_ids": True,
            **UNFILTERED,
            **more,
        }
        try:
            answer = self._server.post("/v1/completions", body)
        except RemoteFailed as error:
            allowed = re.search(r"max allowed: (\d+)", str(error))
            if error.code != "remote_rejected" or not allowed or int(allowed[1]) >= count:
                raise
            # Started anew with another limit: from now on no more than that.
            self.at_most = int(allowed[1])
            self.info = replace(self.info, coverage=0.0)
            more = {key: 0 for key in more}
            return self._complete(prompts, self.at_most, **more)
        return choices_of(answer, len(prompts))


def _sent_after(choice: Any, count: int) -> Sent:
    try:
        row = choice["logprobs"]["top_logprobs"][0]
        ids = [int(key.removeprefix("token_id:")) for key in row]
        logprobs = [float(value) for value in row.values()]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise not_understood("it has no logprobs by token id") from None
    # The token that the server drew comes along even where it is not among the best.
    return Sent(np.array(ids, dtype=np.int64), _floored(logprobs)).first(count)


def _floored(logprobs: Sequence[float]) -> NDArray[np.float64]:
    found = np.array(logprobs, dtype=np.float64)
    return np.where(found <= LEAST, -np.inf, found)


def _scored(row: Any, token_id: int, vocab_size: int | None) -> ScoredToken:
    """A token by its row of prompt logprobs; its entropy where the row is the whole vocabulary."""
    try:
        if vocab_size is not None and len(row) == vocab_size:
            logits = np.full(vocab_size, -np.inf)
            ids = np.array([int(key) for key in row])
            logits[ids] = _floored([one["logprob"] for one in row.values()])
            return score_rows(logits[None], [token_id])[0]
        found = row[str(token_id)]
        logprob, rank = float(found["logprob"]), int(found["rank"])
        return ScoredToken(token_id, float(_floored([logprob])[0]), rank)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise not_understood("it has no logprob for a token of the text") from None


def open_vllm(
    server: Server, model_id: str, model: str | None, tokenizer: str | None, limit: int | None
) -> VllmDialect:
    """Find the model, read its tokenizer, and try out how many logprobs the server gives."""
    entry = served_model(server.get("/v1/models"), model)
    served, length = entry["id"], entry.get("max_model_len")
    if not isinstance(length, int):
        raise RemoteFailed(
            "wrong_engine", "the model server does not speak as vLLM does", path="max_model_len"
        )
    source = tokenizer or str(entry.get("root") or served)
    files = _read_tokenizer(source, served)
    theirs = server.post("/tokenize", {"model": served, "prompt": TRIAL})
    ours = files(TRIAL)["input_ids"]
    if not isinstance(theirs, dict) or theirs.get("tokens") != ours:
        raise RemoteFailed(
            "other_tokenizer",
            f"the tokenizer {source!r} is not the one that the model server uses for {served}",
            model=served,
            tokenizer=source,
        )
    ends = _end_token_ids(source, files)
    info = ModelInfo(
        model_id=model_id,
        vocab_size=max(_vocab_size(source), len(files)),
        context_length=length - 1,  # the server wants room for one token more
        tokenizer_family=tokenizer_family(files),
        has_chat_template=bool(files.chat_template),
        bos_token_id=files.bos_token_id,
        end_token_ids=ends,
    )
    # The server names its limit when it is asked for too many.
    trial = VllmDialect(server, served, Tokenizing(files, info), info, limit or info.vocab_size)
    came = len(trial.after_each([(ours[0],)], trial.at_most)[0].token_ids)
    at_most = min(trial.at_most, came)
    info = replace(info, coverage=1.0 if at_most >= info.vocab_size else 0.0)
    return VllmDialect(server, served, Tokenizing(files, info), info, at_most)


def _read_tokenizer(source: str, served: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, TypeError, KeyError, json.JSONDecodeError) as error:
        detail = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise RemoteFailed(
            "no_tokenizer",
            f"can't read the tokenizer of {served} from {source!r}: {detail}; "
            "name its folder or Hub id with --tokenizer",
            model=served,
            detail=detail,
        ) from error


def _vocab_size(source: str) -> int:
    """Rows of the model's last layer, which may be more than the tokenizer's entries."""
    try:
        return int(AutoConfig.from_pretrained(source).get_text_config().vocab_size)
    except (OSError, ValueError, AttributeError):  # a folder with a tokenizer alone
        return 0


def _end_token_ids(source: str, files: Any) -> tuple[int, ...]:
    try:
        ends = GenerationConfig.from_pretrained(source).eos_token_id
    except (OSError, ValueError):
        ends = None
    found = {ends} if isinstance(ends, int) else set(ends or ())
    return tuple(sorted(found | ({files.eos_token_id} - {None})))
