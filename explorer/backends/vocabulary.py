"""From a tokenizer's entries to the bytes they stand for.

`tokenizer.decode([id])` can't tell: a token that is part of a character decodes to "�",
and SentencePiece strips spaces. The entry itself, read by the rule of its family, can.
"""

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

from explorer.backends.base import ModelInfo, Token, TokenizerFamily, check_token_id
from explorer.decoding import Spelling

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
WORD_START = "\u2581"  # SentencePiece writes a space as this block


def byte_level_alphabet() -> dict[str, int]:
    """The 256 printable characters that GPT-2's byte-level BPE writes bytes with.

    Radford et al. (2019), `encoder.py`: printable bytes stand for themselves, the others
    follow from U+0100 on.

    >>> byte_level_alphabet()["Ġ"] == ord(" ")
    True
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {
        **{chr(byte): byte for byte in printable},
        **{chr(0x100 + place): byte for place, byte in enumerate(others)},
    }


_ALPHABET = byte_level_alphabet()


def tokenizer_family(tokenizer: Any) -> TokenizerFamily:
    """Which rule the entries of this tokenizer are written by."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return "other"
    kinds = _decoder_kinds(json.loads(backend.decoder.__getstate__()))
    if "ByteLevel" in kinds:
        return "byte-level BPE"
    if "Metaspace" in kinds or "ByteFallback" in kinds:
        return "SentencePiece"
    return "WordPiece" if "WordPiece" in kinds else "other"


def _decoder_kinds(decoder: dict[str, Any]) -> set[str]:
    kinds = {str(decoder.get("type"))}
    for part in decoder.get("decoders", ()):
        kinds |= _decoder_kinds(part)
    return kinds


def entry_bytes(entry: str, family: TokenizerFamily) -> bytes:
    """The bytes that a vocabulary entry stands for.

    >>> entry_bytes("Ġthe", "byte-level BPE"), entry_bytes("ãģ", "byte-level BPE")
    (b' the', b'\\xe3\\x81')
    >>> entry_bytes("▁the", "SentencePiece"), entry_bytes("<0xE3>", "SentencePiece")
    (b' the', b'\\xe3')
    """
    if family == "byte-level BPE" and all(character in _ALPHABET for character in entry):
        return bytes(_ALPHABET[character] for character in entry)
    if family == "SentencePiece":
        byte = BYTE_TOKEN.fullmatch(entry)
        if byte:
            return bytes([int(byte[1], 16)])
        return entry.replace(WORD_START, " ").encode()
    if family == "WordPiece":
        return entry[2:].encode() if entry.startswith("##") else b" " + entry.encode()
    return entry.encode()


class Vocabulary:
    """Looks up the token of an id, and remembers it."""

    def __init__(self, tokenizer: Any, family: TokenizerFamily) -> None:
        self._tokenizer = tokenizer
        self._family = family
        self._added = tokenizer.added_tokens_decoder
        self._known: dict[int, Token] = {}
        self._indexing = threading.Lock()
        self._spelling: Spelling | None = None

    def token(self, token_id: int, info: ModelInfo) -> Token:
        known = self._known.get(token_id)
        if known is None:
            check_token_id(token_id, info)
            entry = self._tokenizer.convert_ids_to_tokens(token_id)
            known = self._known[token_id] = self._read(token_id, entry)
        return known

    def tokens(self, info: ModelInfo) -> Iterator[Token]:
        """All tokens in order, looked up at once and not remembered."""
        entries = self._tokenizer.convert_ids_to_tokens(range(info.vocab_size))
        for token_id, entry in enumerate(entries):
            yield self._read(token_id, entry)

    def spelling(self, info: ModelInfo) -> Spelling:
        """All tokens' bytes, indexed; built at the first call."""
        with self._indexing:
            if self._spelling is None:
                tokens = self.tokens(info)
                self._spelling = Spelling(None if one.special else one.raw for one in tokens)
            return self._spelling

    def _read(self, token_id: int, entry: str | None) -> Token:
        added = self._added.get(token_id)
        if added is not None:
            special = bool(added.special)
            plain = special or self._family == "byte-level BPE"  # written as it reads
            raw = added.content.encode() if plain else entry_bytes(added.content, self._family)
            return Token(token_id, raw, special)
        if entry is None:
            # Embedding tables are often padded past the tokenizer's last entry.
            return Token(token_id, b"", special=True)
        return Token(token_id, entry_bytes(entry, self._family))
