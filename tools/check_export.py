"""Checks that a checkpoint of ours is a Hugging Face folder: transformers opens it, its tokenizer
gives the ids that the source's own gives, its chat template says what ours says, its weights are
the source's.

usage: check_export.py FOLDER SOURCE.gguf      (needs transformers, gguf, numpy)

For weights that were trained, the last check is skipped by leaving SOURCE.gguf's tensors out:
check_export.py --tokenizer-only FOLDER SOURCE.gguf
"""
import sys

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import vectors_tokenizer

failures = 0


def report(what, good):
    global failures
    failures += not good
    print(("ok      " if good else "FAILED  ") + what)


def check_tokenizer(folder, source):
    pre, vocab, merges, special = vectors_tokenizer.read_gguf(source)
    oracle = vectors_tokenizer.build(pre, vocab, merges)
    tok = AutoTokenizer.from_pretrained(folder)
    texts = [t.decode(errors="replace") for t in vectors_tokenizer.corpus()]
    plain = [t for t in texts if not any(s in t for s in special)]
    report(f"{len(plain)} texts: ids by AutoTokenizer",
           all(tok(t)["input_ids"] == oracle.encode(t).ids for t in plain))
    report(f"{len(texts)} texts: ids with special tokens as plain text",
           all(tok(t, split_special_tokens=True)["input_ids"] == oracle.encode(t).ids for t in texts))
    report(f"{len(plain)} texts: decoding",
           all(tok.decode(oracle.encode(t).ids) == oracle.decode(oracle.encode(t).ids) for t in plain))
    report(f"{len(special)} special tokens",
           all(tok.convert_tokens_to_ids(t) == i and tok.encode(t) == [i] for t, i in special.items()))
    start, end = special["<|im_start|>"], special["<|im_end|>"]
    report("end of turn", tok.eos_token_id == end)
    turns = [("system", "Rules."), ("user", "It's 12 o'clock\n"), ("assistant", "Äpfel")]
    wanted = []
    for role, text in turns:
        wanted += [start, *oracle.encode(f"{role}\n{text}").ids, end, *oracle.encode("\n").ids]
    wanted += [start, *oracle.encode("assistant\n").ids]
    chat = [{"role": role, "content": text} for role, text in turns]
    got = tok.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    report("chat template", got == wanted)


def permuted(values, heads):
    rows, cols = values.shape
    return values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def check_weights(folder, source):
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    report("no missing or unexpected weights",
           not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"])
    state = dict(model.state_dict())
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj"}
    equal = 0
    for tensor in reader.tensors:
        *layer, part, kind = tensor.name.split(".")
        name = f"model.layers.{layer[1]}.{parts[part]}" if layer else names[part]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if arch == "llama" and part in ("attn_q", "attn_k"):
            key = "head_count" if part == "attn_q" else "head_count_kv"
            values = permuted(values, reader.fields[f"llama.attention.{key}"].contents())
        saved = state[f"{name}.{kind}"]
        equal += torch.equal(torch.from_numpy(values.copy()).to(saved.dtype), saved)
    report(f"{equal} of {len(reader.tensors)} tensors equal, as {model.dtype}",
           equal == len(reader.tensors))
    config = model.config
    fields = {"num_hidden_layers": "block_count", "hidden_size": "embedding_length",
              "max_position_embeddings": "context_length",
              "rms_norm_eps": "attention.layer_norm_rms_epsilon"}
    report("configuration", all(
        np.float32(getattr(config, ours)) == np.float32(reader.fields[f"{arch}.{theirs}"].contents())
        for ours, theirs in fields.items()) and config.rope_parameters["rope_theta"] ==
        reader.fields[f"{arch}.rope.freq_base"].contents())


def main():
    arguments = [a for a in sys.argv[1:] if a != "--tokenizer-only"]
    check_tokenizer(*arguments)
    if len(arguments) == len(sys.argv) - 1:
        check_weights(*arguments)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
