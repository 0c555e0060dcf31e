"""A backend with canned distributions: no weights, the same answers everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explorer.backends.base import (
    Continuations,
    Message,
    ModelInfo,
    NoChatTemplate,
    NothingToPredict,
    ScoredToken,
    TextNotEncodable,
    Token,
    check_prefix,
    check_text,
    check_token_id,
    continuations_from,
    score_from,
)
from explorer.backends.grammar import GrammarMaker
from explorer.decoding import Constraint, Distribution, Grammar, Spelling


class ScriptedBackend:
    """Says what it was told to say after each prefix, and counts how often it was asked.

    `vocabulary` gives the bytes of each token id; `script` maps a prefix to the
    probabilities of all tokens. A prefix without a script gets the uniform distribution.
    Text is encoded by the longest token that fits, from the left. With `top_n` it gives so many
    tokens and no more, as a server does, and log-probabilities instead of logits.

    >>> backend = ScriptedBackend([b"a", b"b"], {(0,): [0.25, 0.75]})
    >>> backend.next_distribution(backend.encode("a")).token_ids.tolist()
    [1, 0]
    >>> server = ScriptedBackend([b"a", b"b"], {(0,): [0.25, 0.75]}, top_n=1)
    >>> round(server.next_distribution((0,)).coverage, 6)
    0.75
    """

    def __init__(
        self,
        vocabulary: Sequence[bytes],
        script: Mapping[tuple[int, ...], Sequence[float]] | None = None,
        *,
        model_id: str = "scripted",
        special: Sequence[int] = (),
        bos_token_id: int | None = None,
        end_token_ids: tuple[int, ...] = (),
        context_length: int = 64,
        chat: bool = False,
        top_n: int | None = None,
    ) -> None:
        self._vocabulary = tuple(vocabulary)
        self._special = frozenset(special)
        self._script = dict(script or {})
        self._top_n = top_n
        self.forwards = 0
        self._distributions: dict[tuple[int, ...], Distribution] = {}
        self._spelling: Spelling | None = None
        self.info = ModelInfo(
            model_id=model_id,
            vocab_size=len(self._vocabulary),
            context_length=context_length,
            tokenizer_family="other",
            has_chat_template=chat,
            bos_token_id=bos_token_id,
            end_token_ids=end_token_ids,
        )
        if top_n is not None:
            given = [*self._script.values(), [1.0] * len(self._vocabulary)]
            least = min(self._sent(np.asarray(row, dtype=np.float64)).coverage for row in given)
            self.info = replace(self.info, coverage=least)
        self._grammars = GrammarMaker(
            self.info, lambda: map(self.token, range(self.info.vocab_size))
        )

    def encode(self, text: str) -> tuple[int, ...]:
        check_text(text)
        rest = text.encode()
        bos = () if self.info.bos_token_id is None else (self.info.bos_token_id,)
        token_ids: list[int] = []
        while rest:
            fits = [i for i, raw in enumerate(self._vocabulary) if raw and rest.startswith(raw)]
            if not fits:
                raise TextNotEncodable(
                    f"no scripted token begins {rest[:8]!r}",
                    position=len(text) - len(rest.decode(errors="ignore")),
                )
            best = max(fits, key=lambda i: len(self._vocabulary[i]))
            token_ids.append(best)
            rest = rest[len(self._vocabulary[best]) :]
        if not (bos or token_ids):
            raise NothingToPredict("the prompt is empty and the model has no BOS token")
        return bos + tuple(token_ids)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        if not self.info.has_chat_template:
            name = self.info.model_id
            raise NoChatTemplate(f"{name} has no chat template", model=name)
        return self.encode("".join(message["content"] for message in messages))

    def token(self, token_id: int) -> Token:
        check_token_id(token_id, self.info)
        return Token(token_id, self._vocabulary[token_id], token_id in self._special)

    def spelling(self) -> Spelling:
        if self._spelling is None:
            self._spelling = Spelling(
                None if token_id in self._special else raw
                for token_id, raw in enumerate(self._vocabulary)
            )
        return self._spelling

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        check_prefix(prefix, self.info)
        if prefix not in self._distributions:
            self.forwards += 1
            uniform = [1.0] * self.info.vocab_size
            probabilities = np.asarray(self._script.get(prefix, uniform), dtype=np.float64)
            self._distributions[prefix] = self._sent(probabilities)
        return self._distributions[prefix]

    def _sent(self, probabilities: NDArray[np.float64]) -> Distribution:
        with np.errstate(divide="ignore"):
            logits = np.log(probabilities / probabilities.sum())
        whole = Distribution.from_logits(logits)
        if self._top_n is None or self._top_n >= self.info.vocab_size:
            return whole
        first = slice(self._top_n)
        return Distribution(
            whole.token_ids[first],
            whole.logits[first],
            coverage=min(1.0, float(whole.probabilities[first].sum())),
            vocab_size=self.info.vocab_size,
            true_logits=False,
        )

    def next_distributions(self, prefixes: Sequence[tuple[int, ...]]) -> tuple[Distribution, ...]:
        return tuple(self.next_distribution(prefix) for prefix in prefixes)

    def continuations(
        self, prefixes: Sequence[tuple[int, ...]], count: int
    ) -> tuple[Continuations, ...]:
        return tuple(continuations_from(one, count) for one in self.next_distributions(prefixes))

    def score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        self.next_distribution(prefix)
        scored = [ScoredToken(prefix[0])]
        for end in range(1, len(prefix)):
            scored.append(score_from(self.next_distribution(prefix[:end]), prefix[end]))
        return tuple(scored)

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        return self._grammars.make(constraint, start)
