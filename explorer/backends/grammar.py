r"""Which tokens may come next when a text must fit a regular expression or a JSON schema.

The grammar is llguidance's, which walks the vocabulary's bytes along the derivatives of the
regular expression; it has no table to compute beforehand, so a new constraint is ready at
once even for 262,144 tokens. A text is read as token ids, never as characters: a byte token
that begins a character is allowed when some allowed character begins with that byte.

- A regular expression is in the syntax of Rust's `regex`, without anchors inside, look-around
  and back-references, and must match the whole text; `\d` and `\w` mean Unicode, `.` is any
  character but a newline.
- A JSON schema gives JSON with the properties in the order of the schema, and what llguidance
  does not support is refused, never ignored. Between tokens of JSON stands nothing, a space,
  or a line break with an indent; llguidance's own default, any amount of white space, lets a
  small model write nothing else. Another choice is made in the schema itself, such as
  `"x-guidance": {"whitespace_flexible": false}`.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from llguidance import LLMatcher, LLTokenizer, regex_to_lark
from numpy.typing import NDArray

from explorer.backends.base import GrammarRefused, ModelInfo, Token, TooBusy, check_asker
from explorer.backends.grammar_trial import (
    CPU_S,
    LIMITS,
    MEMORY_BYTES,
    Entries,
    objection,
    read_entries,
    try_out,
)
from explorer.decoding import Constraint, Grammar
from explorer.decoding.constraint import Fit

GRAMMARS = 16  # compiled, of one model: each holds a lexer that grows to some 40 MB at most
TEXTS = 128  # per grammar whose masks are kept: 33 kB each for 262,144 tokens
MAX_TRIALS = 16  # that may run or wait: each can take some seconds
DETAIL = 300  # characters of llguidance's own words

# Forced bytes would come as the tokens that the tokenizer prefers; others spell them as well.
HEADER = '%llguidance {"no_forcing": true}\nstart: '
WHITE_SPACE = r" |\n[ \t]{0,20}"  # llama.cpp's choice for its JSON grammars, but for one break
_TRIALS = threading.BoundedSemaphore(MAX_TRIALS)
DEAD_END = "NoExtensionBias"  # llguidance's word where no token of the vocabulary goes on


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands in a grammar.

    A text that fits so far but that no token of this vocabulary continues is open, too: it
    is not complete.
    """

    fit: Fit
    may_end: bool
    packed: bytes  # one bit a token id, lowest first: what may follow, the end apart


BROKEN = Place("broken", False, b"")


class TooComplex(ValueError):
    """llguidance met one of its limits."""


class Engine:
    """One grammar over one vocabulary, and where recent texts stand in it.

    One matcher goes from text to text: back to the part that both share, then forward. So a
    step reads one token, and there is a single lexer, whose size is bounded.
    """

    def __init__(
        self, constraint: Constraint, info: ModelInfo, vocabulary: Callable[[], LLTokenizer]
    ) -> None:
        self.info = info
        self.ends = frozenset(info.end_token_ids)
        self._constraint = constraint
        self._vocabulary = vocabulary
        self._working = threading.Lock()  # a matcher can't be used by two threads at once
        self._refusal: str | None = None
        self._lark = ""
        self._matcher: LLMatcher | None = None
        self._read: tuple[int, ...] = ()  # what the matcher has consumed
        self._places: LRUCache[tuple[int, ...], Place] = LRUCache(TEXTS)

    def prepare(self) -> None:
        """Compile unless that is done; raises `GrammarRefused`, every time."""
        with self._working:
            if self._refusal is None and not self._lark:
                try:
                    self._lark = self._compile()
                except ValueError as error:
                    self._refusal = str(error)
            if self._refusal is not None:
                raise self._refused(self._refusal)

    def place(self, text: tuple[int, ...]) -> Place:
        """Where a text without an end token stands; raises `GrammarRefused` at a limit."""
        with self._working:
            known = self._places.get(text)
            if known is None:
                known = self._places[text] = self._find(text)
            return known

    def _refused(self, detail: str) -> GrammarRefused:
        detail = detail[:DETAIL]
        return GrammarRefused("regex" if self._constraint.regex else "json_schema", detail)

    def _compile(self) -> str:
        """The grammar in llguidance's language; raises `ValueError` with what is wrong."""
        regex = self._constraint.regex
        lark = HEADER + (regex_rule(regex) if regex else schema_rule(self._constraint.json_schema))
        said = _tried(lark)
        if said is None:
            raise ValueError(
                f"compiling it takes more than {CPU_S} s or {MEMORY_BYTES // 2**20} MB"
            )
        if said:
            raise ValueError(brief(said))
        matcher = self._matcher = LLMatcher(self._vocabulary(), lark, log_level=0, limits=LIMITS)
        if objection(matcher):  # a limit that depends on the vocabulary
            raise ValueError(brief(objection(matcher)))
        may_end = matcher.is_accepting()
        # JSON is never empty: a schema that only refers to itself gives such a grammar.
        if (may_end and not regex) or not (may_end or self._next(matcher).any()):
            raise ValueError("no text fits that this model's tokens can write")
        return lark

    def _find(self, text: tuple[int, ...]) -> Place:
        if text and not 0 <= min(text) <= max(text) < self.info.vocab_size:
            return BROKEN
        try:
            return self._walk(text)
        except TooComplex:
            # The lexer remembers all texts it has seen; perhaps that was what grew too large.
            self._matcher = None
        try:
            return self._walk(text)
        except TooComplex as error:
            self._matcher = None
            detail = f"too complex to go on after {len(text)} tokens: {error}"
            raise self._refused(detail) from error

    def _walk(self, text: tuple[int, ...]) -> Place:
        matcher = self._go_to(text)
        if self._read != text:
            # llguidance does not say whether it was the token or a limit that stopped it.
            token_id = text[len(self._read)]
            if self._next(matcher)[token_id]:
                raise TooComplex("the next token is too long a step")
            return BROKEN
        may_end = matcher.is_accepting()
        following = self._next(matcher)
        fit: Fit = "complete" if may_end and not following.any() else "open"
        return Place(fit, may_end, np.packbits(following, bitorder="little").tobytes())

    def _go_to(self, text: tuple[int, ...]) -> LLMatcher:
        """The matcher after as much of the text as fits."""
        matcher = self._matcher
        if matcher is None or matcher.is_error():
            matcher = self._matcher = LLMatcher(
                self._vocabulary(), self._lark, log_level=0, limits=LIMITS
            )
            self._read = ()
        shared = 0
        for ours, theirs in zip(text, self._read, strict=False):
            if ours != theirs:
                break
            shared += 1
        matcher.rollback(len(self._read) - shared)
        rest = list(text[shared:])
        fitting = matcher.validate_tokens(rest)  # a matcher that consumes a wrong token is lost
        matcher.consume_tokens(rest[:fitting])
        self._read = text[: shared + fitting]
        if matcher.is_error():
            raise TooComplex(brief(matcher.get_error()))
        return matcher

    def _next(self, matcher: LLMatcher) -> NDArray[np.bool_]:  # (V,)
        mask = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        size = self.info.vocab_size
        if not matcher.is_error():
            return np.unpackbits(mask, count=size, bitorder="little").view(np.bool_)
        if matcher.get_error().startswith(DEAD_END):
            return np.zeros(size, dtype=np.bool_)
        raise TooComplex(brief(matcher.get_error()))


def _tried(lark: str) -> str | None:
    """The trial of whoever still wants it; `TooBusy` where a crowd wants other ones first."""
    if not _TRIALS.acquire(blocking=False):
        raise TooBusy(waiting=MAX_TRIALS, limit=MAX_TRIALS)
    try:
        return try_out(lark, check_asker)
    finally:
        _TRIALS.release()


@dataclass(frozen=True, slots=True)
class BoundGrammar:
    """An engine told where the prompt ends: the text is what follows the first `start` tokens.

    It holds a compiled grammar, so it is made anew for each reading and not kept.
    """

    engine: Engine
    start: int

    def fit(self, context: Sequence[int]) -> Fit:
        """How the text stands; a text that was ended where it might end is complete.

        Raises `GrammarRefused` where the grammar is too complex for llguidance's limits.
        """
        text, ended = self._text(context)
        place = self.engine.place(text)
        if ended:
            return "complete" if place.may_end else "broken"
        return place.fit

    def allowed(self, context: Sequence[int]) -> NDArray[np.bool_]:
        """By token id, `(V,)`; all end tokens are allowed exactly where the text may end.

        Nothing is after a broken text. Raises as `fit` does.
        """
        text, ended = self._text(context)
        place = self.engine.place(text)
        info = self.engine.info
        allowed = np.zeros(info.vocab_size, dtype=np.bool_)
        if place.packed and not ended:
            bits = np.frombuffer(place.packed, dtype=np.uint8)
            allowed = np.unpackbits(bits, count=info.vocab_size, bitorder="little").view(np.bool_)
        if place.may_end:
            allowed[list(info.end_token_ids)] = True
        return allowed

    def _text(self, context: Sequence[int]) -> tuple[tuple[int, ...], bool]:
        """The text, and whether an end token followed it; what comes after that is no text."""
        text = tuple(context[self.start :])
        for place, token_id in enumerate(text):
            if token_id in self.engine.ends:
                return text[:place], True
        return text, False


class GrammarMaker:
    """Makes the grammars of one model; safe to share among threads.

    `tokens` gives every entry of the vocabulary in order; it is asked once, by the first
    constraint.
    """

    def __init__(self, info: ModelInfo, tokens: Callable[[], Iterable[Token]]) -> None:
        self._info = info
        self._tokens = tokens
        self._building = threading.Lock()
        self._built: LLTokenizer | None = None
        self._choosing = threading.Lock()
        self._engines: LRUCache[tuple[str, str], Engine] = LRUCache(GRAMMARS)

    def make(self, constraint: Constraint, start: int) -> Grammar:
        """The constraint's grammar for texts after `start` tokens; raises `GrammarRefused`."""
        key = (constraint.regex, constraint.json_schema)
        with self._choosing:  # compiling takes longer, and others need not wait for it
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = Engine(constraint, self._info, self._vocabulary)
        engine.prepare()
        return BoundGrammar(engine, start)

    def _vocabulary(self) -> LLTokenizer:
        with self._building:
            if self._built is None:
                self._built = read_entries(self._entries())
            return self._built

    def _entries(self) -> Entries:
        """The vocabulary and one entry more: an end of our own.

        A model may have no end token or many, which may be written like plain text; where a
        text may end is a question of its own, and none of them is ever part of the text.
        """
        ends = set(self._info.end_token_ids)
        raw, special = [], []
        for token in self._tokens():
            raw.append(token.raw)
            if token.special or not token.raw or token.token_id in ends:
                special.append(token.token_id)
        end = len(raw)
        return Entries([*raw, b"<end>"], [*special, end], end)


def regex_rule(regex: str) -> str:
    """A regular expression in llguidance's language; `ValueError` for what it would misread.

    >>> regex_rule("a/b")
    '/a\\\\/b/'
    """
    check_characters(regex)
    if (len(regex) - len(regex.rstrip("\\"))) % 2:
        raise ValueError("incomplete escape sequence at the end")
    return f"/{regex_to_lark(regex, '')}/"  # the digits and words of Unicode


def schema_rule(json_schema: str) -> str:
    """A JSON schema in llguidance's language; `ValueError` for a text that is no JSON.

    >>> schema_rule('{"const": "日", "x-guidance": {}}')
    '%json {"const": "\\\\u65e5", "x-guidance": {}}'
    """
    check_characters(json_schema)
    try:
        schema = json.loads(json_schema)
        if schema is True:  # any JSON
            schema = {}
        if isinstance(schema, dict):
            schema.setdefault("x-guidance", {"whitespace_pattern": WHITE_SPACE})
        return f"%json {json.dumps(schema, allow_nan=False)}"
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a lone surrogate at position {error.start}") from error


def brief(message: str) -> str:
    r"""The point of a message of llguidance, without the grammar it quotes.

    >>> brief('at 2(8): invalid regex "a(" (in regex): regex parse error:\n    a(\n     ^\n'
    ...       'error: unclosed group\n   1 | start: /a(/\n')
    'unclosed group'
    """
    point = re.search(r"^error: (.+)", message, re.MULTILINE)
    if point:
        return point[1][:DETAIL]
    message = re.split(r"^ +\d+ \| |<non-verbose/>", message, maxsplit=1, flags=re.MULTILINE)[0]
    message = re.sub(r"^at \d+\(\d+\): ", "", message)
    message = message.removeprefix("failed to compile JSON schema: ").split("(in regex): ")[-1]
    return " ".join(message.split())[:DETAIL]
