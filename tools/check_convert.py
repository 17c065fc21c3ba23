"""Proves with the real libraries that what `mlagent model convert` writes is what others read:
the Hugging Face folder in transformers, each GGUF type in the gguf package and in llama.cpp.

usage: check_convert.py MLAGENT SOURCE.gguf WORK [--no-llama] [--formats bf16,f16,q8_0,q4_0]
       (needs transformers, gguf, numpy; llama-cpp-python unless --no-llama)

MLAGENT is the program, WORK a folder for what it writes. Log-probabilities are those of a reply
that mlagent samples from the converted model: transformers in fp32 recomputes them, and the gap
must not be above twice the one between transformers' own bf16 and fp32 (the tolerance of bf16).
llama.cpp reads the same tokens from each GGUF file.
"""
import argparse
import json
import os
import subprocess
import sys

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import check_export
from check_export import report

PROMPT = ("This script scores 0.71. Which one change to its model would you try first, and why?\n\n"
          "import pandas as pd\nfrom sklearn.linear_model import LogisticRegression\n\n"
          "train = pd.read_csv('train.csv')\nx = train.drop(columns=['id', 'target'])\n"
          "model = LogisticRegression(max_iter=50).fit(x, train['target'])\n")
NEW_TOKENS = 96
TYPES = {"bf16": "BF16", "f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
# Of llama.cpp against transformers in fp32 on the same file's values: the least agreement on the
# likeliest token, and the largest median gap of log-probabilities in nats. With quantised weights
# llama.cpp quantises activations to eight bits too, which transformers does not: the gap of the
# quantised files is that (0.05 and 0.06 measured on SmolLM2), their tensors being equal bit for bit.
BOUNDS = {"bf16": (0.95, 0.02), "f16": (0.95, 0.02), "q8_0": (0.85, 0.1), "q4_0": (0.85, 0.1)}


def convert(program, source, out, to):
    subprocess.run([program, "model", "convert", source, out, "--to", to, "--force", "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def sample(program, model):
    done = subprocess.run([program, "generate", model, "--prompt", PROMPT, "--max-new",
                           str(NEW_TOKENS), "--seed", "5", "--json", "--quiet"],
                          check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


# ---- transformers --------------------------------------------------------------------------------

def logprobs_of(logits, prompt, ids):
    """Of ids [n] under logits [len(prompt) + n, vocab] of the whole, and the likeliest tokens."""
    rows = torch.log_softmax(torch.as_tensor(logits)[len(prompt) - 1:len(prompt) + len(ids) - 1].double(), -1)
    return rows.gather(1, torch.tensor(ids)[:, None])[:, 0].numpy(), rows.argmax(-1).numpy()


def by_transformers(folder, prompt, ids, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.no_grad():
        return logprobs_of(model(torch.tensor([prompt + ids])).logits[0].float(), prompt, ids)


def check_folder(program, folder):
    """Returns the prompt's and the reply's ids, and what transformers in fp32 makes of them."""
    tok = AutoTokenizer.from_pretrained(folder)
    prompt = tok(f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    reply = sample(program, folder)
    ids, ours = reply["ids"], np.array(reply["logprobs"])
    report(f"the prompt's {len(prompt)} tokens are as many for us", len(prompt) == reply["prompt_tokens"])
    exact, top = by_transformers(folder, prompt, ids, torch.float32)
    theirs, _ = by_transformers(folder, prompt, ids, torch.bfloat16)
    gap, own = np.abs(ours - exact), np.abs(theirs - exact)
    report(f"{len(ids)} log-probabilities against transformers fp32: median {np.median(gap):.4f}, "
           f"largest {gap.max():.4f} nats (transformers' own bf16: {np.median(own):.4f}, {own.max():.4f})",
           np.median(gap) <= 2 * np.median(own) and gap.max() <= 2 * own.max())
    return prompt, ids, exact, top


# ---- gguf ----------------------------------------------------------------------------------------

def fields_equal(a, b, key):
    return key in a.fields and key in b.fields and a.fields[key].contents() == b.fields[key].contents()


# A folder's tokenizer.json calls every added token special, so that text never speaks them: user-
# defined ones (4) come back as control tokens (3).
def check_types(source, reader):
    was, now = (r.fields["tokenizer.ggml.token_type"].contents() for r in (source, reader))
    report("token types as in the source, control and user-defined being one",
           [3 if t == 4 else t for t in was] == [3 if t == 4 else t for t in now])


def check_metadata(source, reader, but=()):
    arch = source.fields["general.architecture"].contents()
    keys = [f"{arch}.{k}" for k in ("block_count", "context_length", "embedding_length",
            "feed_forward_length", "attention.head_count", "attention.head_count_kv",
            "rope.freq_base", "attention.layer_norm_rms_epsilon")]
    keys += ["general.architecture"] + ["tokenizer.ggml." + k for k in (
        "model", "pre", "tokens", "token_type", "merges", "eos_token_id", "bos_token_id")]
    keys += [k for k in ("tokenizer.ggml.padding_token_id", "tokenizer.chat_template")
             if k in source.fields]
    keys = [k for k in keys if k not in but]
    wrong = [k for k in keys if not fields_equal(source, reader, k)]
    report(f"{len(keys)} keys as in the source" + (f"; not {wrong}" if wrong else ""), not wrong)


def check_tensors(source, reader, wanted):
    """Every tensor is what gguf makes of the source's values, bit for bit; rows in the same order."""
    there = {t.name: t for t in reader.tensors}
    equal = 0
    for tensor in source.tensors:
        ours = there.pop(tensor.name, None)
        if ours is None or list(ours.shape) != list(tensor.shape):
            continue
        kind = ours.tensor_type
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        raw = tensor.data if kind == tensor.tensor_type else gguf.quantize(values, kind)
        equal += np.array_equal(np.ascontiguousarray(raw).view(np.uint8).ravel(),
                                np.ascontiguousarray(ours.data).view(np.uint8).ravel())
    kinds = {t.tensor_type.name for t in reader.tensors}
    report(f"{equal} of {len(source.tensors)} tensors bit for bit what gguf writes; types {sorted(kinds)}",
           equal == len(source.tensors) and not there and wanted in kinds)


# ---- llama.cpp -----------------------------------------------------------------------------------

def check_llama(path, to, prompt, ids, exact, top):
    from llama_cpp import Llama
    # With AMX it must have been built as bench/peers/tile_config.h says, or it crashes on quantised weights.
    model = Llama(path, n_ctx=1024, n_batch=512, logits_all=True, verbose=False)
    text = f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n"
    report(f"llama.cpp {to}: opens, and gives the prompt the same {len(prompt)} tokens",
           model.tokenize(text.encode(), add_bos=False, special=True) == prompt)
    model.eval(prompt + ids)
    theirs, their_top = logprobs_of(model.scores[:len(prompt) + len(ids)], prompt, ids)
    gap, agree = np.abs(theirs - exact), np.mean(their_top == top)
    least, most = BOUNDS[to]
    report(f"llama.cpp {to}: the likeliest token agrees at {100 * agree:.0f}% of {len(ids)} positions, "
           f"log-probabilities: median gap {np.median(gap):.4f}, largest {gap.max():.4f} nats",
           agree >= least and np.median(gap) <= most)
    end = model.token_eos()
    report(f"llama.cpp {to}: a turn ends with <|im_end|>", model.detokenize([end], special=True) == b"<|im_end|>")
    model.close()


def check_detour(program, source, folder, work, for_llama):
    print("---- from the folder to GGUF", flush=True)
    again = convert(program, folder, os.path.join(work, "again.gguf"), "bf16")
    reader, first = gguf.GGUFReader(again), gguf.GGUFReader(os.path.join(work, "bf16.gguf"))
    check_metadata(source, reader, but=["tokenizer.ggml.token_type"])
    check_types(source, reader)
    # Norms and biases went through bf16 on the way.
    there = {t.name: t for t in reader.tensors}
    pairs = [(t, there[t.name]) for t in first.tensors if len(t.shape) > 1]
    report(f"{len(pairs)} matrices are those of the direct way",
           all(np.array_equal(a.data, b.data) for a, b in pairs))
    if for_llama:
        check_llama(again, "bf16", *for_llama)


def main():
    parser = argparse.ArgumentParser()
    for name in ("program", "source", "work"):
        parser.add_argument(name)
    parser.add_argument("--no-llama", dest="with_llama", action="store_false")
    parser.add_argument("--formats", default=",".join(TYPES))
    args = parser.parse_args()
    program, source_path, work, with_llama = args.program, args.source, args.work, args.with_llama
    os.makedirs(work, exist_ok=True)
    source = gguf.GGUFReader(source_path)
    print(f"---- {os.path.basename(source_path)}: folder")
    folder = convert(program, source_path, os.path.join(work, "hf"), "hf")
    check_export.check_tokenizer(folder, source_path)
    check_export.check_weights(folder, source_path)
    prompt, ids, exact, top = check_folder(program, folder)
    for to in args.formats.split(","):
        print(f"---- {os.path.basename(source_path)}: {to}", flush=True)
        name = TYPES[to]
        path = convert(program, source_path, os.path.join(work, f"{to}.gguf"), to)
        reader = gguf.GGUFReader(path)
        check_metadata(source, reader)
        check_tensors(source, reader, name)
        if with_llama and to.startswith("q"):
            values = convert(program, path, os.path.join(work, f"hf_{to}"), "hf")
            there = by_transformers(values, prompt, ids, torch.float32)
            print(f"        {to} costs {np.median(np.abs(there[0] - exact)):.4f} nats in the median")
            check_llama(path, to, prompt, ids, *there)
        elif with_llama:
            check_llama(path, to, prompt, ids, exact, top)
    if "bf16" in args.formats.split(","):
        check_detour(program, source, folder, work, with_llama and (prompt, ids, exact, top))
    sys.exit(check_export.failures > 0)


if __name__ == "__main__":
    main()
