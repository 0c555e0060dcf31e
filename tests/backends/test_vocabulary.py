"""The bytes that a vocabulary entry stands for."""

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from explorer.backends.base import ModelInfo, Token, TokenizerFamily, TokenOutOfRange
from explorer.backends.vocabulary import (
    Vocabulary,
    byte_level_alphabet,
    entry_bytes,
    tokenizer_family,
)
from tests.backends import tiny


def info_of(vocab_size: int, family: TokenizerFamily = "other") -> ModelInfo:
    return ModelInfo("m", vocab_size, 64, family, has_chat_template=False)


def vocabulary_of(tokenizer: Any) -> Vocabulary:
    return Vocabulary(tokenizer, tokenizer_family(tokenizer))


def token_of(tokenizer: Any, entry: str) -> Token:
    token_id = tokenizer.convert_tokens_to_ids(entry)
    return vocabulary_of(tokenizer).token(token_id, info_of(10_000))


def bare(decoder: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "##b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    if decoder is not None:
        tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


# the alphabet


def test_alphabet_is_the_one_of_gpt2() -> None:
    assert byte_level_alphabet() == {
        character: byte for byte, character in bytes_to_unicode().items()
    }


def test_alphabet_is_the_one_of_the_tokenizers_library() -> None:
    assert set(byte_level_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())


# entries


@pytest.mark.parametrize(
    ("family", "entry", "raw"),
    [
        ("byte-level BPE", "Ġdog", b" dog"),
        ("byte-level BPE", "Ċ", b"\n"),
        ("byte-level BPE", "æĹ¥", "日".encode()),
        ("byte-level BPE", "ãģ", b"\xe3\x81"),
        ("byte-level BPE", "Ā", b"\0"),
        ("byte-level BPE", "Ń", b"\xad"),
        ("byte-level BPE", "日", "日".encode()),
        ("SentencePiece", "▁dog", b" dog"),
        ("SentencePiece", "▁▁▁", b"   "),
        ("SentencePiece", "日本", "日本".encode()),
        ("SentencePiece", "<0x00>", b"\0"),
        ("SentencePiece", "<0xE3>", b"\xe3"),
        ("SentencePiece", "<0xff>", b"\xff"),
        ("SentencePiece", "<0xE3", b"<0xE3"),
        ("SentencePiece", "x<0xE3>", b"x<0xE3>"),
        ("SentencePiece", "<0xE381>", b"<0xE381>"),
        ("SentencePiece", "Ġ", "Ġ".encode()),
        ("WordPiece", "dog", b" dog"),
        ("WordPiece", "##s", b"s"),
        ("WordPiece", "##", b""),
        ("other", "▁dog", "▁dog".encode()),
        ("other", "Ġ", "Ġ".encode()),
        ("other", "<0xE3>", b"<0xE3>"),
    ],
)
def test_entry_bytes(family: TokenizerFamily, entry: str, raw: bytes) -> None:
    assert entry_bytes(entry, family) == raw


@pytest.mark.parametrize("make", [tiny.byte_level_tokenizer, tiny.sentencepiece_tokenizer])
def test_every_byte_has_an_entry(make: Any) -> None:
    tokenizer = make()
    vocabulary = vocabulary_of(tokenizer)
    tokens = [vocabulary.token(i, info_of(len(tokenizer))) for i in range(len(tokenizer))]
    singles = {token.raw for token in tokens if len(token.raw) == 1 and not token.special}
    assert singles == {bytes([byte]) for byte in range(256)}


# families


@pytest.mark.parametrize(
    ("decoder", "family"),
    [
        (None, "other"),
        (decoders.ByteLevel(), "byte-level BPE"),
        (decoders.Sequence([decoders.Fuse(), decoders.ByteLevel()]), "byte-level BPE"),
        (decoders.Metaspace(), "SentencePiece"),
        (decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]), "SentencePiece"),
        (decoders.WordPiece(), "WordPiece"),
        (decoders.BPEDecoder(), "other"),
        (decoders.CTC(), "other"),
    ],
)
def test_family_is_told_by_the_decoder(decoder: Any, family: TokenizerFamily) -> None:
    assert tokenizer_family(bare(decoder)) == family


def test_families_of_trained_tokenizers() -> None:
    assert tokenizer_family(tiny.byte_level_tokenizer()) == "byte-level BPE"
    assert tokenizer_family(tiny.sentencepiece_tokenizer()) == "SentencePiece"


def test_a_tokenizer_in_python_is_of_no_known_family() -> None:
    assert tokenizer_family(object()) == "other"


# ids


def test_ids_of_a_padded_embedding_are_special_and_empty() -> None:
    tokenizer = tiny.byte_level_tokenizer()
    vocabulary = vocabulary_of(tokenizer)
    padded = info_of(len(tokenizer) + 10)
    for token_id in range(len(tokenizer), len(tokenizer) + 10):
        assert vocabulary.token(token_id, padded) == Token(token_id, b"", special=True)
    assert not vocabulary.token(len(tokenizer) - 1, padded).special


def test_ids_outside_the_embedding_are_refused() -> None:
    vocabulary = vocabulary_of(tiny.byte_level_tokenizer())
    for token_id in (-1, 20):
        with pytest.raises(TokenOutOfRange):
            vocabulary.token(token_id, info_of(20))


def test_a_token_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny.byte_level_tokenizer()
    vocabulary = vocabulary_of(tokenizer)
    first = vocabulary.token(50, info_of(100))
    monkeypatch.setattr(tokenizer, "convert_ids_to_tokens", None)
    assert vocabulary.token(50, info_of(100)) is first


# added tokens


@pytest.mark.parametrize("make", [tiny.byte_level_tokenizer, tiny.sentencepiece_tokenizer])
def test_added_tokens_stand_for_their_own_text(make: Any) -> None:
    tokenizer = make()
    tokenizer.add_tokens([AddedToken("<|tool|>", special=True)], special_tokens=True)
    tokenizer.add_tokens([AddedToken("日本 Ġo!", special=False)])
    tool, plain = token_of(tokenizer, "<|tool|>"), token_of(tokenizer, "日本 Ġo!")
    assert (tool.raw, tool.special) == (b"<|tool|>", True)
    assert (plain.raw, plain.special) == ("日本 Ġo!".encode(), False)


@pytest.mark.parametrize("make", [tiny.byte_level_tokenizer, tiny.sentencepiece_tokenizer])
def test_begin_and_end_are_special(make: Any) -> None:
    tokenizer = make()
    for entry in (tokenizer.bos_token, tokenizer.eos_token):
        assert token_of(tokenizer, entry).special
        assert token_of(tokenizer, entry).raw == entry.encode()


def test_added_run_of_spaces_of_a_sentencepiece_model_stands_for_spaces() -> None:
    """transformers lists the user-defined pieces of a SentencePiece model as added tokens."""
    run = AddedToken("▁▁", special=False, normalized=False)
    tokenizer = tiny.sentencepiece_tokenizer(added=(run,))
    vocabulary = vocabulary_of(tokenizer)
    text = "a  b"
    tokens = [vocabulary.token(i, info_of(10_000)) for i in tokenizer(text)["input_ids"]]
    assert b"".join(token.raw for token in tokens if not token.special) == text.encode()
