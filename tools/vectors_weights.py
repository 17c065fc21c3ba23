"""Makes tests/vectors/model_weights: what the `gguf` package makes of quantised weights.

usage: vectors_weights.py SMOLLM2.gguf OUT      (needs gguf and numpy)

  quant.bin     for each element type: its number and a count of blocks (4 bytes each,
                little-endian), the blocks (random bits, but sane scales), the values (fp32)
  smollm2.json  for each tensor of SmolLM2 under its Hugging Face name: rows, columns, and the
                SHA-256 of its fp32 values, Q's and K's rows put back in Hugging Face's order
"""
import hashlib
import json
import os
import struct
import sys

import gguf
import numpy as np

BLOCKS = 6
# Where a block's half-precision scales are.
SCALES = {"F32": [], "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
          "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
PARTS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
         "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}


def random_blocks(name, size, rng):
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for at in SCALES[name]:
        halves = (rng.standard_normal(BLOCKS) * 0.02).astype(np.float16)
        halves[-1] = np.float16(3e-6)       # a subnormal
        blocks[:, at:at + 2] = halves.view(np.uint8).reshape(BLOCKS, 2)
    if name in ("F32", "BF16"):
        values = rng.standard_normal(BLOCKS).astype(np.float32)
        blocks = values.view(np.uint8).reshape(BLOCKS, 4)[:, -size:].copy()
    return blocks


def write_quant(path):
    rng = np.random.default_rng(7)
    with open(path, "wb") as f:
        for name in SCALES:
            kind = gguf.GGMLQuantizationType[name]
            size = gguf.GGML_QUANT_SIZES[kind][1]
            blocks = random_blocks(name, size, rng)
            if name in ("F32", "F16"):
                values = blocks.view(np.float32 if name == "F32" else np.float16).astype(np.float32)
            else:
                values = gguf.dequantize(blocks, kind)
            f.write(struct.pack("<II", int(kind), BLOCKS) + blocks.tobytes()
                    + np.ascontiguousarray(values, dtype=np.float32).tobytes())


def hf_name(name):
    if name.startswith("blk."):
        _, layer, part, kind = name.split(".")
        return f"model.layers.{layer}.{PARTS[part]}.{kind}"
    stem, kind = name.rsplit(".", 1)
    return f"{NAMES[stem]}.{kind}"


def unpermuted(values, heads):
    """Llama's Q and K rows, which GGUF keeps in the order of interleaved rotary embedding."""
    rows, cols = values.shape
    return values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write_real(source, path):
    reader = gguf.GGUFReader(source)
    heads = {"attn_q": reader.fields["llama.attention.head_count"].contents(),
             "attn_k": reader.fields["llama.attention.head_count_kv"].contents()}
    out = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = tensor.name.split(".")[-2]
        if part in heads:
            values = unpermuted(values, heads[part])
        shape = values.shape if values.ndim == 2 else (1, *values.shape)
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        out[hf_name(tensor.name)] = [*map(int, shape), digest]
    with open(path, "w") as f:
        json.dump(out, f, indent=0)
        f.write("\n")


def main():
    source, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    write_quant(os.path.join(out, "quant.bin"))
    write_real(source, os.path.join(out, "smollm2.json"))


if __name__ == "__main__":
    main()
