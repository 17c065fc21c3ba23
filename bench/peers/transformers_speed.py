"""Speeds of PyTorch and transformers in bf16 on the CPU, for the ratios of the benchmarks.

usage: transformers_speed.py prefill|group|sft|sft_memory FILE.gguf
Prints `figure X`: tokens a second, seconds (group), or peak MB (sft_memory).
"""
import os
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM

PROMPT, GROUP, NEW = 1024, 8, 64


def timed(work, repeats):
    best = float('inf')
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def prefill(model):
    ids = torch.randint(100, 40000, (1, PROMPT))
    with torch.inference_mode():
        return PROMPT / timed(lambda: model(ids, logits_to_keep=1), 4)


def group(model):
    ids = torch.randint(100, 40000, (1, PROMPT)).expand(GROUP, -1)
    options = dict(max_new_tokens=NEW, min_new_tokens=NEW, do_sample=True, pad_token_id=0)
    with torch.inference_mode():
        return timed(lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options), 2)


def sft(model):
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    ids = torch.randint(100, 40000, (1, PROMPT))

    def step():
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return PROMPT / timed(step, 4)


def sft_memory(model):
    sft(model)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    what, path = sys.argv[1:]
    folder, name = os.path.split(path)
    torch.set_num_threads(os.cpu_count())
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    work = {'prefill': prefill, 'group': group, 'sft': sft, 'sft_memory': sft_memory}[what]
    print('figure', work(model.eval()))


if __name__ == '__main__':
    main()
