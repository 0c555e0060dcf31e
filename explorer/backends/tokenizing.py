"""Text, conversations and token ids, by the tokenizer files of a model."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2

from explorer.backends.base import (
    ChatRefused,
    Message,
    ModelInfo,
    NoChatTemplate,
    NothingToPredict,
    Token,
    check_text,
)
from explorer.backends.vocabulary import Vocabulary
from explorer.decoding import Spelling


class Tokenizing:
    """A transformers tokenizer, safe to share among threads."""

    def __init__(self, tokenizer: Any, info: ModelInfo) -> None:
        self.tokenizer = tokenizer
        self._info = info
        self._vocabulary = Vocabulary(tokenizer, info.tokenizer_family)
        self._tokenizing = threading.Lock()  # a fast tokenizer refuses to be borrowed twice

    def encode(self, text: str) -> tuple[int, ...]:
        check_text(text)
        with self._tokenizing:
            token_ids = tuple(self.tokenizer(text, verbose=False)["input_ids"])
        return token_ids or start_of_nothing(self._info)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        check_messages(messages, self._info)
        with self._tokenizing:
            try:
                encoded = self.tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    add_generation_prompt=True,
                    return_dict=True,
                )
            except jinja2.TemplateError as error:
                raise ChatRefused(
                    f"the chat template of {self._info.model_id} refuses this: {error}",
                    model=self._info.model_id,
                    detail=str(error),
                ) from error
        return tuple(encoded["input_ids"])

    def token(self, token_id: int) -> Token:
        return self._vocabulary.token(token_id, self._info)

    def spelling(self) -> Spelling:
        return self._vocabulary.spelling(self._info)

    def tokens(self) -> Iterator[Token]:
        """All tokens in order."""
        return self._vocabulary.tokens(self._info)


def start_of_nothing(info: ModelInfo) -> tuple[int, ...]:
    """What an empty text is: the BOS token alone, or nothing to predict from."""
    if info.bos_token_id is None:
        raise NothingToPredict("the prompt is empty and the model has no BOS token to start from")
    return (info.bos_token_id,)


def check_messages(messages: Sequence[Message], info: ModelInfo) -> None:
    if not info.has_chat_template:
        raise NoChatTemplate(f"{info.model_id} has no chat template", model=info.model_id)
    for message in messages:
        check_text(message["role"])
        check_text(message["content"])
