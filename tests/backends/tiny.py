"""Models with random weights that load in milliseconds, and tokenizers trained in memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedTokenizerFast,
)

from explorer.backends.local import LocalBackend, describe
from explorer.backends.prefix_memory import PrefixMemory

CORPUS = (
    "The quick brown fox jumps over the lazy dog. The dog sleeps, the fox jumps again.",
    "One token after another: the next token is the one that the model picks.",
    "日本語の文章も少し。次の言葉は何でしょう。日本語の言葉。",
)
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] not in ['user', 'assistant'] %}"
    "{{ raise_exception('no role ' + m['role']) }}"
    "{% endif %}"
    "<s>{{ m['role'] }}: {{ m['content'] }}</s>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
VOCAB_SIZE = 384  # of the models; the tokenizers have fewer entries
WINDOW = 8  # of the sliding layers of Gemma 3
CONTEXT = 48
BUDGET = 64 * 2**20


def byte_level_tokenizer(
    *, bos: str | None = "<s>", begin_with_bos: bool = False, chat_template: str | None = None
) -> PreTrainedTokenizerFast:
    """GPT-2's kind: every byte is a character of the alphabet."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if begin_with_bos:
        tokenizer.post_processor = _bos_first(tokenizer, "<s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token="</s>",
        chat_template=chat_template,
    )


def sentencepiece_tokenizer(
    added: tuple[AddedToken, ...] = (), entries: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """Gemma's kind: spaces are written ▁, and bytes without an entry are written <0xE3>."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    byte_entries = [f"<0x{byte:02X}>" for byte in range(256)]
    characters = ["▁", *sorted({c for line in CORPUS[:2] for c in line if c != " "}), "日", "本"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "▁"), ("日", "本")]
    words = [*characters, *("".join(pair) for pair in merges), *entries]
    vocabulary = {entry: i for i, entry in enumerate(specials + byte_entries + words)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("\n"), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(specials)
    tokenizer.add_tokens(list(added))
    tokenizer.post_processor = _bos_first(tokenizer, "<bos>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def _bos_first(tokenizer: Tokenizer, bos: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )


def _seeded(model_class: Any, config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return model_class(config).eval()


# The weights are drawn wide enough that the distributions are far from uniform and every
# token of the prefix matters; `initializer_range` is 0.02 by default, where nothing does.


@cache
def llama() -> Any:
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    return _seeded(LlamaForCausalLM, config)


@cache
def gemma3() -> Any:
    config = Gemma3TextConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        max_position_embeddings=CONTEXT,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        initializer_range=0.3,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _seeded(Gemma3ForCausalLM, config)


@cache
def gpt2() -> Any:
    config = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_positions=24,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    return _seeded(GPT2LMHeadModel, config)


@cache
def mamba() -> Any:
    config = MambaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        state_size=4,
        num_hidden_layers=2,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _seeded(MambaForCausalLM, config)


@cache
def hybrid() -> Any:
    """Attention and convolutions with a state, in one model."""
    config = Lfm2Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        layer_types=["conv", "full_attention"],
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _seeded(Lfm2ForCausalLM, config)


MODELS: dict[str, Callable[[], Any]] = {
    "llama": llama,
    "gemma3": gemma3,
    "gpt2": gpt2,
    "mamba": mamba,
    "hybrid": hybrid,
}


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    if name == "gemma3":
        return sentencepiece_tokenizer()
    if name == "llama":
        return byte_level_tokenizer(begin_with_bos=True, chat_template=CHAT_TEMPLATE)
    if name == "mamba":
        return byte_level_tokenizer(bos=None)
    return byte_level_tokenizer()


def backend(name: str, budget: int = BUDGET) -> LocalBackend:
    """A new backend that remembers nothing yet, over a model that all tests share."""
    model, tokenizer = MODELS[name](), tokenizer_of(name)
    info = describe(model, tokenizer)
    context = min(info.context_length, CONTEXT)  # Mamba sets none
    return LocalBackend(
        model,
        tokenizer,
        replace(info, model_id=name, context_length=context),
        PrefixMemory(budget),
    )


def save_llama(folder: Path) -> Path:
    llama().save_pretrained(folder)
    tokenizer_of("llama").save_pretrained(folder)
    return folder


def write_llama_gguf(path: Path) -> Path:
    """The tiny Llama and a byte-level tokenizer, as llama.cpp writes them."""
    model, config = llama(), llama().config
    bpe = json.loads(byte_level_tokenizer().backend_tokenizer.to_str())["model"]
    entries = sorted(bpe["vocab"], key=bpe["vocab"].get)
    entries += [f"<unused{i}>" for i in range(VOCAB_SIZE - len(entries))]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(VOCAB_SIZE)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(entries)
    writer.add_token_types([control, control] + [normal] * (VOCAB_SIZE - 2))
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)

    def add(name: str, weight: torch.Tensor, heads: int = 0) -> None:
        array = weight.detach().numpy().astype(np.float32)
        if heads:  # llama.cpp interleaves the two halves that the rotation turns
            rows, columns = array.shape
            halves = array.reshape(heads, 2, rows // heads // 2, columns)
            array = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
        writer.add_tensor(f"{name}.weight", array)

    add("token_embd", model.model.embed_tokens.weight)
    add("output_norm", model.model.norm.weight)
    add("output", model.lm_head.weight)
    for i, layer in enumerate(model.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        add(f"blk.{i}.attn_q", attention.q_proj.weight, config.num_attention_heads)
        add(f"blk.{i}.attn_k", attention.k_proj.weight, config.num_key_value_heads)
        add(f"blk.{i}.attn_v", attention.v_proj.weight)
        add(f"blk.{i}.attn_output", attention.o_proj.weight)
        add(f"blk.{i}.ffn_gate", mlp.gate_proj.weight)
        add(f"blk.{i}.ffn_up", mlp.up_proj.weight)
        add(f"blk.{i}.ffn_down", mlp.down_proj.weight)
        add(f"blk.{i}.attn_norm", layer.input_layernorm.weight)
        add(f"blk.{i}.ffn_norm", layer.post_attention_layernorm.weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
