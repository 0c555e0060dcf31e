"""llama-server, llama.cpp's own: ids and bytes of every candidate, as many as wanted.

The vocabulary's bytes come with the candidates, so one request for all of them, when the model
is opened, tells every entry exactly; no tokenizer files are needed here. A control token comes
without bytes, which is how it is known to be one (unless the server runs with `--special`).

The server keeps the candidates back while the text that it has drawn ends within a character,
and later shows them at another place. So the draw, of which nothing is used here, is forced to
be a letter; the candidates are the raw softmax, which no sampler's bias touches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explorer.backends.base import (
    ChatRefused,
    Message,
    ModelInfo,
    RemoteFailed,
    ScoredToken,
    Token,
    TokenizerFamily,
    check_text,
)
from explorer.backends.prefix_memory import Prefix
from explorer.backends.remote import Scoring, Sent
from explorer.backends.remote_server import Server, not_understood, served_model
from explorer.backends.tokenizing import check_messages, start_of_nothing

# llama.cpp's numbers for the kinds of vocabularies.
FAMILIES: dict[int, TokenizerFamily] = {1: "SentencePiece", 2: "byte-level BPE", 3: "WordPiece"}
LEAST = -1e30  # llama.cpp writes the least float for -inf, which JSON does not have
FORCING = 1e4  # added to a logit, leaves no other token a chance
ENTRIES = 400_000  # logprobs in one answer; a vocabulary of 49,152 is 4.7 MB of JSON


class LlamaDialect:
    """The model of a llama-server."""

    scoring: Scoring = "one by one"

    def __init__(
        self,
        server: Server,
        served: str,
        info: ModelInfo,
        at_most: int,
        letter: int,
        tokens: Sequence[Token] = (),
    ) -> None:
        self.info = info
        self.at_most = at_most
        self._server = server
        self._served = served
        self._letter = letter  # a token that is whole characters
        self._tokens = tuple(tokens)

    def encode(self, text: str) -> tuple[int, ...]:
        check_text(text)
        return _tokenize(self._server, text) or start_of_nothing(self.info)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        check_messages(messages, self.info)
        body = {"messages": [dict(message) for message in messages]}
        try:
            answer = self._server.post("/apply-template", body)
        except RemoteFailed as error:
            if error.code not in ("remote_rejected", "remote_server_error"):
                raise
            detail = str(error.facts["detail"])
            raise ChatRefused(
                f"the chat template of {self.info.model_id} refuses this: {detail}",
                model=self.info.model_id,
                detail=detail,
            ) from error
        if not isinstance(answer, dict) or not isinstance(answer.get("prompt"), str):
            raise not_understood("it is no chat prompt")
        return _tokenize(self._server, answer["prompt"])

    def token(self, token_id: int) -> Token:
        return self._tokens[token_id]

    def tokens(self) -> Iterator[Token]:
        return iter(self._tokens)

    def after_each(self, prefixes: Sequence[Prefix], count: int) -> list[Sent]:
        sent: list[Sent] = []
        together = max(1, ENTRIES // count)
        for first in range(0, len(prefixes), together):
            group = prefixes[first : first + together]
            rows = self._candidates(group, count)
            sent += [_sent(row) for row in rows]
        return sent

    def score(self, prefix: Prefix) -> tuple[tuple[ScoredToken, ...], Sent]:
        raise NotImplementedError("llama-server gives no logprobs of a prompt")

    def with_vocabulary(self) -> "LlamaDialect":
        """The same with every token's bytes, which all candidates after one token tell."""
        size = self.info.vocab_size
        [row] = self._candidates([(0,)], size)
        raw: dict[int, bytes] = {}
        try:
            raw = {int(one["id"]): bytes(one["bytes"]) for one in row}
        except (KeyError, TypeError, ValueError):
            raise not_understood("its candidates have no bytes") from None
        if raw.keys() != set(range(size)):
            raise not_understood(f"{len(raw)} of {size} tokens came")
        special = {token_id for token_id, spelled in raw.items() if not spelled}
        special |= set(self.info.end_token_ids)
        if self.info.bos_token_id is not None:
            special.add(self.info.bos_token_id)
        raw |= self._read_specials([one for one in sorted(special) if not raw[one]], raw)
        tokens = [Token(one, raw[one], one in special) for one in range(size)]
        return LlamaDialect(
            self._server, self._served, self.info, self.at_most, self._letter, tokens
        )

    def _read_specials(self, specials: list[int], raw: dict[int, bytes]) -> dict[int, bytes]:
        """How control tokens are written: a text of them all, with line breaks between."""
        line_break = next((one for one, spelled in raw.items() if spelled == b"\n"), None)
        if line_break is None or not specials:
            return {}
        among = [one for special in specials for one in (special, line_break)]
        answer = self._server.post("/detokenize", {"tokens": among})
        text = answer.get("content") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise not_understood("it is no text of tokens")
        written = text.removesuffix("\n").split("\n")
        if len(written) != len(specials):  # one is written with a line break of its own
            return {}
        return {one: name.encode() for one, name in zip(specials, written, strict=True)}

    def _candidates(self, prefixes: Sequence[Prefix], count: int) -> list[list[Any]]:
        """What may follow each prefix, before any sampler: the raw softmax."""
        body = {
            "model": self._served,
            "prompt": [list(prefix) for prefix in prefixes],
            "n_predict": 1,
            "n_probs": count,
            "post_sampling_probs": False,
            "temperature": 1,
            "logit_bias": [[self._letter, FORCING]],
            "cache_prompt": True,
        }
        answers = self._server.post("/completion", body)
        if isinstance(answers, dict):  # a single prompt
            answers = [answers]
        try:
            answers = sorted(answers, key=lambda answer: int(answer["index"]))
            rows = [
                list(answer["completion_probabilities"][0]["top_logprobs"]) for answer in answers
            ]
        except (KeyError, IndexError, TypeError, ValueError):
            raise not_understood("it has no logprobs by token id") from None
        if len(rows) != len(prefixes):
            raise not_understood(f"{len(rows)} answers to {len(prefixes)} prompts")
        return rows


def _sent(row: list[Any]) -> Sent:
    logprobs = _numbers(row, "logprob", np.float64)
    return Sent(_numbers(row, "id", np.int64), np.where(logprobs < LEAST, -np.inf, logprobs))


def _numbers(row: list[Any], name: str, kind: Any) -> Any:
    try:
        return np.array([one[name] for one in row], dtype=kind)
    except (KeyError, TypeError, ValueError):
        raise not_understood("it has no logprobs by token id") from None


def _tokenize(server: Server, text: str) -> tuple[int, ...]:
    answer = server.post("/tokenize", {"content": text, "add_special": True})
    try:
        return tuple(int(token_id) for token_id in answer["tokens"])
    except (KeyError, TypeError, ValueError):
        raise not_understood("it has no tokens") from None


def open_llama(server: Server, model_id: str, model: str | None, limit: int | None) -> LlamaDialect:
    """Ask what the server has loaded, and for the whole vocabulary once."""
    entry = served_model(server.get("/v1/models"), model)
    properties = server.get("/props")
    try:
        size = int(entry["meta"]["n_vocab"])
        context = int(properties["default_generation_settings"]["n_ctx"])
        bos, eos = str(properties["bos_token"]), str(properties["eos_token"])
    except (KeyError, TypeError, ValueError):
        raise RemoteFailed(
            "wrong_engine", "the model server does not speak as llama-server does", path="n_vocab"
        ) from None
    info = ModelInfo(
        model_id=model_id,
        vocab_size=size,
        context_length=context - 1,  # the server wants room for one token more
        tokenizer_family=FAMILIES.get(entry["meta"].get("vocab_type"), "other"),
        has_chat_template=bool(properties.get("chat_template")),
        bos_token_id=_only_token(server, bos),
        end_token_ids=tuple(one for one in [_only_token(server, eos)] if one is not None),
        dtype=str(entry["meta"]["ftype"]) if entry["meta"].get("ftype") else None,
    )
    at_most = min(limit or size, size)
    info = replace(info, coverage=1.0 if at_most == size else 0.0)
    letter = _tokenize(server, "a")[-1:]
    if not letter:
        raise not_understood("it has no token for a letter")
    return LlamaDialect(server, str(entry["id"]), info, at_most, letter[0]).with_vocabulary()


def _only_token(server: Server, written: str) -> int | None:
    """The token that a text is, where it is one."""
    if not written:
        return None
    answer = server.post("/tokenize", {"content": written, "add_special": False})
    try:
        token_ids = [int(one) for one in answer["tokens"]]
    except (KeyError, TypeError, ValueError):
        raise not_understood("it has no tokens") from None
    return token_ids[0] if len(token_ids) == 1 else None
