"""Checks adapters against PEFT over transformers on a real model: PEFT opens one that we trained and
wrote, we open one that PEFT wrote, and transformers opens the model that we merged.

usage: check_adapter.py MODEL.gguf [--program build/mlagent] [--tool build/tests/adapter_tool]
       (needs torch, transformers, peft, gguf; `make build/mlagent build/tests/adapter_tool` first)

Log-probabilities of a text of a few hundred tokens are compared, and of merged weights the values.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXT = ("<|im_start|>user\nWrite a Python function that fits a random forest with scikit-learn and "
        "prints its accuracy on a held-out set.<|im_end|>\n<|im_start|>assistant\n"
        + open(os.__file__, encoding="utf-8").read()[3000:4200])
failures = 0


def report(what, good):
    global failures
    failures += not good
    print(("ok      " if good else "FAILED  ") + what, flush=True)


def gaps(what, got, want, mean, most):
    gap = np.abs(np.asarray(got, dtype=np.float64) - np.asarray(want, dtype=np.float64))
    report(f"{what}: mean {gap.mean():.2g}, largest {gap.max():.2g} nats over {len(gap)} tokens",
           len(got) == len(want) and gap.mean() < mean and gap.max() < most)


def logprobs(model, ids):
    with torch.no_grad():
        logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
    return logp[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0].numpy()


class Peers:
    def __init__(self, path):
        self.folder, self.name = os.path.split(os.path.abspath(path))
        tokenizer = AutoTokenizer.from_pretrained(self.folder, gguf_file=self.name)
        self.ids = tokenizer(TEXT, add_special_tokens=False).input_ids

    def base(self):
        return AutoModelForCausalLM.from_pretrained(self.folder, gguf_file=self.name,
                                                    dtype=torch.float32).eval()

    def scored(self, adapter):
        return logprobs(PeftModel.from_pretrained(self.base(), adapter).eval(), self.ids)


def ours(args, ids, *words):
    done = subprocess.run([args.tool, *words], input=" ".join(map(str, ids)), text=True,
                          capture_output=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [float(line) for line in done.stdout.split()], done.stderr


def check_ours_in_peft(args, peers, tmp, bare):
    out = os.path.join(tmp, "ours")
    got, told = ours(args, peers.ids, "train", args.model, out, "bf16", "6")
    print("        " + told.strip().replace("\n", "\n        "))
    want = peers.scored(out)
    report(f"ours was trained: {np.abs(want - bare).mean():.2g} nats from the base in the mean",
           np.abs(want - bare).mean() > 0.05)
    gaps("ours (bf16 products) in PEFT fp32", got, want, 0.05, 0.5)
    fp32, _ = ours(args, peers.ids, "score", args.model, out, "f32")
    gaps("ours (fp32 products) in PEFT fp32", fp32, want, 1e-4, 2e-3)
    half, _ = ours(args, peers.ids, "score", args.model, out + ".bf16", "f32")
    gaps("ours saved as bf16, in PEFT fp32", half, peers.scored(out + ".bf16"), 1e-4, 2e-3)
    kept = json.load(open(os.path.join(out, "adapter_config.json")))["base_model_name_or_path"]
    report(f"base_model_name_or_path is {kept!r}", kept == "a-base")
    return out


def check_peft_in_ours(args, peers, tmp, bare, **options):
    out = os.path.join(tmp, "theirs-" + "-".join(options))
    torch.manual_seed(1)
    model = get_peft_model(peers.base(), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.04)
    model.save_pretrained(out)
    want = logprobs(model, peers.ids)
    what = f"PEFT's ({options})"
    report(f"{what} is {np.abs(want - bare).mean():.2g} nats from the base in the mean",
           np.abs(want - bare).mean() > 0.05)
    for compute, mean, most in (("f32", 1e-4, 2e-3), ("bf16", 0.05, 0.5), ("int8", 0.15, 2.0)):
        got, _ = ours(args, peers.ids, "score", args.model, out, compute)
        gaps(f"{what} in ours, {compute}", got, want, mean, most)
    return out


def check_merged(args, peers, tmp, adapter):
    out = os.path.join(tmp, "merged")
    subprocess.run([args.program, "model", "merge", args.model, adapter, out], check=True,
                   stdout=subprocess.DEVNULL)
    model, info = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True,
                                                       dtype=torch.float32)
    report("merged: no missing or unexpected weights",
           not info["missing_keys"] and not info["unexpected_keys"])
    report("merged: AutoTokenizer's ids",
           AutoTokenizer.from_pretrained(out)(TEXT, add_special_tokens=False).input_ids == peers.ids)
    merged = PeftModel.from_pretrained(peers.base(), adapter).merge_and_unload()
    theirs, equal, total, most = dict(merged.state_dict()), 0, 0, 0.0
    for name, values in model.state_dict().items():
        want = theirs[name].to(torch.bfloat16)
        equal += int((values.to(torch.bfloat16) == want).sum())
        total += values.numel()
        gap = (values - want.float()).abs() / (want.float().abs() + 1e-3)
        most = max(most, float(gap.max()))
    report(f"merged: {equal} of {total} values are PEFT's merged ones in bf16, the others within "
           f"{most:.2g}", equal > 0.999 * total and most < 0.01)
    gaps("merged, in transformers, from PEFT's unmerged", logprobs(model, peers.ids),
         peers.scored(adapter), 0.05, 0.5)


def check_generate(args, peers, adapter):
    command = [args.program, "generate", args.model, "--compute", "f32", "--json", "--prompt", "Hi!",
               "--max-new", "24", "--seed", "3", "--adapter", adapter]
    reply = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    tok = AutoTokenizer.from_pretrained(peers.folder, gguf_file=peers.name)
    start, end = "<|im_start|>", "<|im_end|>"
    prompt = tok(f"{start}user\nHi!{end}\n{start}assistant\n", add_special_tokens=False).input_ids
    model = PeftModel.from_pretrained(peers.base(), adapter).eval()
    want = logprobs(model, prompt + reply["ids"])[len(prompt) - 1:]
    gaps("generate --adapter, log-probabilities of what it sampled", reply["logprobs"], want, 1e-4,
         2e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--program", default="build/mlagent")
    parser.add_argument("--tool", default="build/tests/adapter_tool")
    args = parser.parse_args()
    peers = Peers(args.model)
    bare = logprobs(peers.base(), peers.ids)
    with tempfile.TemporaryDirectory() as tmp:
        check_ours_in_peft(args, peers, tmp, bare)
        theirs = check_peft_in_ours(args, peers, tmp, bare, r=16, lora_alpha=32, target_modules=ALL)
        check_peft_in_ours(args, peers, tmp, bare, r=5, lora_alpha=7, use_rslora=True,
                           target_modules=["q_proj", "v_proj"])
        check_generate(args, peers, theirs)
        check_merged(args, peers, tmp, theirs)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
