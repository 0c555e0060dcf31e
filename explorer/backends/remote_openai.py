"""The OpenAI API: at most 5 logprobs of a completion, at most 20 of a chat model's answer.

It sends the bytes of each candidate and no ids; tiktoken's encodings, which are one to one, say
which token they are. A candidate that the encoding does not know is left out, and its mass with
it. A chat model is given a conversation, never ids: what it says of the first token of its
answer is all that can be known, and how it frames the conversation is not.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tiktoken

from explorer.backends.base import (
    LogprobsUnavailable,
    Message,
    ModelInfo,
    NoChatTemplate,
    RemoteFailed,
    ScoredToken,
    Token,
    check_text,
)
from explorer.backends.prefix_memory import Prefix
from explorer.backends.remote import Scoring, Sent
from explorer.backends.remote_server import Server, choices_of
from explorer.backends.tokenizing import check_messages, start_of_nothing

UNBOUNDED = 2**31 - 1  # the API does not tell a model's context
COMPLETION_LOGPROBS = 5
CHAT_LOGPROBS = 20
UNFILTERED = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
MARKS = (b"<|im_start|>", b"<|im_sep|>", b"<|im_end|>")  # stand between messages, in our ids only


class OpenAIDialect:
    """What the completions and the chat models of the OpenAI API have in common."""

    scoring: Scoring = "as known"  # each token would be a request that is paid for

    def __init__(
        self,
        server: Server,
        served: str,
        info: ModelInfo,
        at_most: int,
        encoding: tiktoken.Encoding,
    ) -> None:
        self.info = info
        self.at_most = at_most
        self._server = server
        self._served = served
        self._encoding = encoding
        self._special = {encoding.encode_single_token(one) for one in encoding.special_tokens_set}

    def encode(self, text: str) -> tuple[int, ...]:
        check_text(text)
        return self._read(text) or start_of_nothing(self.info)

    def token(self, token_id: int) -> Token:
        if token_id >= self._encoding.n_vocab:
            return Token(token_id, MARKS[token_id - self._encoding.n_vocab], special=True)
        try:
            raw = self._encoding.decode_single_token_bytes(token_id)
        except KeyError:  # some encodings leave out a few ids
            return Token(token_id, b"", special=True)
        return Token(token_id, raw, token_id in self._special)

    def tokens(self) -> Iterator[Token]:
        return map(self.token, range(self.info.vocab_size))

    def score(self, prefix: Prefix) -> tuple[tuple[ScoredToken, ...], Sent]:
        raise NotImplementedError("the OpenAI API gives no logprobs of a prompt")

    def _read(self, text: str) -> tuple[int, ...]:
        return tuple(self._encoding.encode(text, disallowed_special=()))

    def _sent(self, candidates: Iterable[tuple[bytes, float]]) -> Sent:
        """The candidates that the encoding knows, by id."""
        found: dict[int, float] = {}
        for raw, logprob in candidates:
            try:
                found[self._encoding.encode_single_token(raw)] = float(logprob)
            except KeyError:
                continue  # not a token of this encoding: counted as not seen
        if not found:
            raise LogprobsUnavailable("the model server gave no probabilities")
        return Sent(np.array([*found], np.int64), np.array([*found.values()], np.float64))


class CompletionsDialect(OpenAIDialect):
    """A model of the completions endpoint, which reads token ids."""

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        raise NoChatTemplate(f"{self.info.model_id} has no chat template", model=self.info.model_id)

    def after_each(self, prefixes: Sequence[Prefix], count: int) -> list[Sent]:
        body = {
            "model": self._served,
            "prompt": [list(prefix) for prefix in prefixes],
            "max_tokens": 1,
            "logprobs": count,
            **UNFILTERED,
        }
        choices = choices_of(self._server.post("/v1/completions", body), len(prefixes))
        return [self._sent(_completion_candidates(choice)) for choice in choices]


class ChatDialect(OpenAIDialect):
    """A chat model: only the first token of its answer has known probabilities."""

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        check_messages(messages, self.info)
        start, separator, end = self._marks
        token_ids: list[int] = []
        for message in messages:
            role, content = self._read(message["role"]), self._read(message["content"])
            token_ids += [start, *role, separator, *content, end]
        return (*token_ids, start, *self._read("assistant"), separator)

    def after_each(self, prefixes: Sequence[Prefix], count: int) -> list[Sent]:
        conversations = [self._conversation(prefix) for prefix in prefixes]
        return [self._first_of_answer(messages, count) for messages in conversations]

    def _first_of_answer(self, messages: list[dict[str, str]], count: int) -> Sent:
        body = {
            "model": self._served,
            "messages": messages,
            "max_completion_tokens": 1,
            "logprobs": True,
            "top_logprobs": count,
            **UNFILTERED,
        }
        [choice] = choices_of(self._server.post("/v1/chat/completions", body), 1)
        return self._sent(_chat_candidates(choice))

    @property
    def _marks(self) -> tuple[int, int, int]:
        first = self._encoding.n_vocab
        return first, first + 1, first + 2

    def _conversation(self, prefix: Prefix) -> list[dict[str, str]]:
        """The messages that a prefix stands for, if it is a conversation that awaits an answer."""
        start, separator, end = self._marks
        waiting = (start, *self._read("assistant"), separator)
        messages = []
        rest = prefix
        while rest and rest != waiting:
            try:
                middle, last = rest.index(separator), rest.index(end)
            except ValueError:
                raise self._can_not_continue() from None
            role, content = rest[1:middle], rest[middle + 1 : last]
            if rest[0] != start or max(*role, *content, 0) >= start:
                raise self._can_not_continue()
            messages.append(
                {"role": self._encoding.decode(role), "content": self._encoding.decode(content)}
            )
            rest = rest[last + 1 :]
        if not messages or not rest:
            raise self._can_not_continue()
        return messages

    def _can_not_continue(self) -> RemoteFailed:
        return RemoteFailed(
            "chat_only",
            f"{self._served} answers conversations only: it gives probabilities for the first "
            "token of an answer, and can't continue a text",
            model=self._served,
        )


def _completion_candidates(choice: Any) -> list[tuple[bytes, float]]:
    try:
        row = choice["logprobs"]["top_logprobs"][0]
        return [(token_bytes(text), float(logprob)) for text, logprob in row.items()]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise LogprobsUnavailable("the model server gave no probabilities") from None


def _chat_candidates(choice: Any) -> list[tuple[bytes, float]]:
    try:
        row = choice["logprobs"]["content"][0]["top_logprobs"]
        return [
            (bytes(one["bytes"]) if one.get("bytes") else one["token"].encode(), one["logprob"])
            for one in row
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise LogprobsUnavailable("the model server gave no probabilities") from None


def token_bytes(text: str) -> bytes:
    r"""The bytes of a completion's token: part of a character is written with escapes.

    >>> token_bytes(" the"), token_bytes(r"bytes: \xe6\x97")
    (b' the', b' \xe6\x97')
    """
    if not text.startswith("bytes:") or "\\x" not in text:
        return text.encode()
    pieces = re.split(r"\\x([0-9a-fA-F]{2})", text.removeprefix("bytes:"))
    return b"".join(
        bytes([int(piece, 16)]) if place % 2 else piece.encode()
        for place, piece in enumerate(pieces)
    )


def open_openai(
    server: Server, model_id: str, model: str, encoding: str | None, limit: int | None
) -> CompletionsDialect | ChatDialect:
    """Try whether the model completes texts; if not, whether it answers conversations."""
    found = _encoding(model, encoding)
    chat = ModelInfo(
        model_id=model_id,
        vocab_size=found.n_vocab + len(MARKS),
        context_length=UNBOUNDED,
        tokenizer_family="other",
        has_chat_template=True,
        end_token_ids=tuple(found.encode_single_token(one) for one in found.special_tokens_set),
        coverage=0.0,
    )
    completion = ModelInfo(
        model_id=model_id,
        vocab_size=found.n_vocab,
        context_length=UNBOUNDED,
        tokenizer_family="other",
        has_chat_template=False,
        end_token_ids=chat.end_token_ids,
        coverage=0.0,
    )
    completions = CompletionsDialect(
        server, model, completion, min(limit or COMPLETION_LOGPROBS, COMPLETION_LOGPROBS), found
    )
    try:
        completions.after_each([completions.encode("The")], 1)
        return completions
    except RemoteFailed as error:
        # A chat model answers here as if there were no such model, or no such request.
        if error.code not in ("remote_no_such_model", "remote_rejected"):
            raise
    chatting = ChatDialect(server, model, chat, min(limit or CHAT_LOGPROBS, CHAT_LOGPROBS), found)
    chatting.after_each([chatting.encode_chat([{"role": "user", "content": "The"}])], 1)
    return chatting


def _encoding(model: str, name: str | None) -> tiktoken.Encoding:
    try:
        return tiktoken.get_encoding(name) if name else tiktoken.encoding_for_model(model)
    except Exception as error:
        # An unknown name, or tiktoken could not fetch the encoding, which it may do in any way.
        detail = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise RemoteFailed(
            "no_tokenizer",
            f"can't get the encoding of {model}: {detail}; name it with --tokenizer",
            model=model,
            detail=detail,
        ) from error
