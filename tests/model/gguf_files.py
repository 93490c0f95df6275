"""Tiny GGUF files for tests: a random Llama, written as llama.cpp's converter would write it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType as Stored
from gguf import GGUFWriter, quants
from safetensors.torch import load_file

from tests.conftest import make_base

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}model:"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""The names of a layer's parts in transformers -> in GGUF."""


def tiny_llama(folder: Path) -> Path:
    """Makes the Llama of the other tests, with rows wide enough for a block of each quantization."""
    return make_base(folder, hidden=64, layers=2)


def gguf_name(name: str) -> str:
    """Returns the name that GGUF gives to a weight of a Llama."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in whole:
        return whole[stem] + ".weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Returns a query or key matrix in llama.cpp's order of a head's dimensions (convert_hf_to_gguf.py)."""
    n, width = weight.shape
    return weight.reshape(heads, 2, n // heads // 2, width).swapaxes(1, 2).reshape(n, width)


def tensors_of(base: Path) -> dict[str, np.ndarray]:
    """Returns GGUF name -> weights of a Llama in fp32."""
    config = json.loads((base / "config.json").read_text())
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    tensors = {}
    for name, tensor in load_file(base / "model.safetensors").items():
        weight = tensor.to(torch.float32).numpy()
        part = name.split(".")[-2]
        tensors[gguf_name(name)] = permuted(weight, heads[part]) if part in heads else weight
    return tensors


def write_gguf(
    base: Path,
    file: Path,
    *,
    stored: Stored = Stored.F16,
    architecture: str = "llama",
    more: Mapping[str, str] | None = None,
    part: int = 0,
    parts: int = 1,
    without: str = "",
) -> Path:
    """Writes a Llama as a GGUF file, or part number `part` of `parts`; norms stay F32."""
    config = json.loads((base / "config.json").read_text())
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    writer = GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    words = tokenizer["model"]["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words, key=lambda word: words[word]))
    writer.add_token_types([3 if word == "<|end|>" else 1 for word in sorted(words, key=lambda word: words[word])])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(words["<|end|>"])
    writer.add_pad_token_id(words["<|end|>"])
    writer.add_chat_template(TEMPLATE)
    for key, value in (more or {}).items():
        writer.add_string(key, value)
    tensors = [(name, weight) for name, weight in tensors_of(base).items() if name != without]
    if parts > 1:
        writer.add_uint16("split.no", part)
        writer.add_uint16("split.count", parts)
        writer.add_int32("split.tensors.count", len(tensors))
    for name, weight in tensors[part::parts]:
        kind = Stored.F32 if weight.ndim == 1 else stored
        writer.add_tensor(name, quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def dequantized(weight: torch.Tensor, stored: Stored) -> torch.Tensor:
    """Returns what is left of a matrix after it was stored so."""
    if weight.ndim == 1:
        return weight
    return torch.from_numpy(quants.dequantize(quants.quantize(weight.numpy(), stored), stored))
