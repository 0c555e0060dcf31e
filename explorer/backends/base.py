"""What every backend is, whatever owns the weights: local, remote or scripted."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

from explorer.backends.errors import BackendError as BackendError
from explorer.backends.errors import ChatRefused as ChatRefused
from explorer.backends.errors import ContextTooLong as ContextTooLong
from explorer.backends.errors import GrammarRefused as GrammarRefused
from explorer.backends.errors import LogprobsUnavailable as LogprobsUnavailable
from explorer.backends.errors import ModelUnavailable as ModelUnavailable
from explorer.backends.errors import NoChatTemplate as NoChatTemplate
from explorer.backends.errors import NothingToPredict as NothingToPredict
from explorer.backends.errors import Reason as Reason
from explorer.backends.errors import RemoteFailed as RemoteFailed
from explorer.backends.errors import RemoteReason as RemoteReason
from explorer.backends.errors import TextNotEncodable as TextNotEncodable
from explorer.backends.errors import TokenOutOfRange as TokenOutOfRange
from explorer.backends.errors import TooBusy as TooBusy
from explorer.decoding import Constraint, Distribution, Grammar, Spelling

# Who asks is known to no backend but by this: a request sets it, and whoever waits for a
# turn looks at it.


class AskerGone(Exception):
    """Who asked is no longer there: nobody would read the answer, nor this."""


class ModelNeeded(Exception):
    """What only the model itself can answer, which is not there yet."""


@dataclass(eq=False, slots=True)
class Asker:
    """Whoever waits for an answer: they may leave, and once let in they are not turned away."""

    has_left: Callable[[], bool]
    let_in: bool = False
    when_done: Callable[[], None] = lambda: None  # by who wants to know


_asker: ContextVar[Asker | None] = ContextVar("asker", default=None)


@contextmanager
def asked_by(asker: Asker) -> Iterator[None]:
    """What is done meanwhile is done for this asker."""
    token = _asker.set(asker)
    try:
        yield
    finally:
        _asker.reset(token)
        asker.when_done()


def asker_here() -> Asker | None:
    """Who asked for what this thread does, where that is known."""
    return _asker.get()


def check_asker() -> None:
    """`AskerGone` once who asked has left."""
    asker = _asker.get()
    if asker is not None and asker.has_left():
        raise AskerGone


TokenizerFamily = Literal["byte-level BPE", "SentencePiece", "WordPiece", "other"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model; `None` is unknown."""

    model_id: str
    vocab_size: int
    context_length: int
    tokenizer_family: TokenizerFamily
    has_chat_template: bool
    bos_token_id: int | None = None
    end_token_ids: tuple[int, ...] = ()  # any of these ends the text
    licence: str | None = None
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    coverage: float = 1.0  # the least coverage of its distributions


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary: the bytes it stands for, which need not be whole characters."""

    token_id: int
    raw: bytes
    special: bool = False


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """How likely a token of a text was, given all before it.

    All are `None` for the first token, before which the model saw nothing.
    """

    token_id: int
    logprob: float | None = None  # natural logarithm of the raw probability
    rank: int | None = None  # 1 is the most probable
    entropy: float | None = None  # of the raw distribution before this token, in nats
    rank_beyond: int | None = None  # where a server sent this many, and none was the token


@dataclass(frozen=True, slots=True)
class Continuations:
    """The most probable tokens after a prefix, best first, without the rest of the vocabulary."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # natural logarithms of the raw probabilities


def continuations_from(distribution: Distribution, count: int) -> Continuations:
    """The first `count` tokens of a distribution; fewer where it has fewer."""
    head = distribution.head(count)
    best = math.log(float(head.probabilities[0]))
    logprobs = best + (head.logits[:count] - head.logits[0])
    return Continuations(tuple(head.token_ids[:count].tolist()), tuple(logprobs.tolist()))


def score_from(distribution: Distribution, token_id: int) -> ScoredToken:
    """Score one token against the distribution that preceded it."""
    rank = distribution.rank_of(token_id)
    if rank is None:
        beyond = len(distribution)
        return ScoredToken(token_id, entropy=distribution.entropy, rank_beyond=beyond)
    head = distribution.head(1)
    best = math.log(float(head.probabilities[0])) - float(head.logits[0])
    return ScoredToken(token_id, best + distribution.logit_of(token_id), rank, distribution.entropy)


def check_text(text: str) -> None:
    """`TextNotEncodable` for a lone surrogate, which has no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextNotEncodable(
            f"the text holds a lone surrogate at position {error.start}, which is no character",
            position=error.start,
        ) from error


def check_token_id(token_id: int, info: ModelInfo) -> None:
    if not 0 <= token_id < info.vocab_size:
        raise TokenOutOfRange(
            f"token_id must be from 0 to {info.vocab_size - 1}, got {token_id!r}",
            token_id=token_id,
            high=info.vocab_size - 1,
        )


def check_prefix(prefix: Sequence[int], info: ModelInfo) -> None:
    """A prefix a model can be asked about: not empty, within the context, ids it knows."""
    if not prefix:
        raise NothingToPredict("the prefix is empty")
    if len(prefix) > info.context_length:
        raise ContextTooLong(len(prefix), info.context_length)
    if min(prefix) < 0 or max(prefix) >= info.vocab_size:
        for token_id in prefix:
            check_token_id(token_id, info)


Message = Mapping[str, str]  # {"role": …, "content": …}


class Backend(Protocol):
    """A model: from a prefix of token ids to a distribution. Safe to share among threads."""

    @property
    def info(self) -> ModelInfo: ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, special tokens as the model expects.

        An empty text gives the BOS token alone. Raises `NothingToPredict` when there is
        none, and `TextNotEncodable` for a lone surrogate.
        """
        ...

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a conversation in the model's own template, ready for its answer."""
        ...

    def token(self, token_id: int) -> Token:
        """The vocabulary's entry for a token id; `TokenOutOfRange` for any other id."""
        ...

    def spelling(self) -> Spelling:
        """The vocabulary's bytes, indexed; a special token spells none. Built at the first call."""
        ...

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        """What comes next. A prefix seen before costs no forward pass."""
        ...

    def next_distributions(self, prefixes: Sequence[tuple[int, ...]]) -> tuple[Distribution, ...]:
        """What comes after each of several prefixes, in as few forward passes as it can."""
        ...

    def continuations(
        self, prefixes: Sequence[tuple[int, ...]], count: int
    ) -> tuple[Continuations, ...]:
        """The `count` most probable tokens after each prefix: what a search needs, and no more.

        Prefixes that begin alike share a forward pass.
        """
        ...

    def score(self, prefix: tuple[int, ...]) -> tuple[ScoredToken, ...]:
        """Every token of the prefix, scored in one forward pass."""
        ...

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        """Which tokens fit a constraint; the text is what follows the first `start` tokens.

        Raises `GrammarRefused`, and the grammar's methods do where it is too complex.
        """
        ...


LoadPhase = Literal["idle", "waiting", "downloading", "converting", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """How far a model is on its way into memory."""

    phase: LoadPhase
    done_bytes: int | None = None
    total_bytes: int | None = None
    error: BackendError | None = None


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that a user can pick by name."""

    name: str
    title: str
    parameters: str
    languages: tuple[str, ...]
    licence: str
    licence_url: str
    needs_hub: bool
    download_bytes: int | None = None
    rounds: str | None = None  # the model whose weights these are, rounded to 8 bits


@dataclass(frozen=True, slots=True)
class Usage:
    """What models take of this machine, and what they have done."""

    models: tuple[str, ...]  # names of those in memory
    model_bytes: int = 0
    remembered_bytes: int = 0
    waiting: int = 0  # turns at a model that are open
    passes: int = 0  # since the app began
    tokens: int = 0  # that these passes read


class Models(Protocol):
    """All models that this app can use, loaded on demand and shared by all users."""

    default: str
    public: bool  # only models of the catalogue may be asked for

    def choices(self) -> tuple[ModelChoice, ...]: ...

    def request(self, name: str) -> LoadStatus:
        """Start loading in the background unless that has begun; a failed model is tried again.

        Raises `ModelUnavailable` for a name that can't be used here.
        """
        ...

    def status(self, name: str) -> LoadStatus: ...

    def usage(self) -> Usage: ...

    def early(self, name: str) -> Backend | None:
        """What an earlier start left of a model that is still on its way, if it did.

        It answers the prompt that it was kept for; all else raises `ModelNeeded`.
        """
        ...

    def keep_first_table(self, name: str, text: str, chat: bool) -> None:
        """Keep what a model that is there says of a prompt of the app's own, for a next start."""
        ...

    def page_answers(self) -> None:
        """The page is up: what would have slowed it down may begin."""
        ...

    def get(self, name: str) -> Backend:
        """The model, waiting until it is loaded; `ModelUnavailable` says why it can't be had."""
        ...
