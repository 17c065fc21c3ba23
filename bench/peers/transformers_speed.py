"""Speeds of PyTorch and transformers in bf16 on the CPU, for the ratios of the benchmarks.

usage: transformers_speed.py prefill|decode|decode32|group|sft|sft_memory|lora|lora_memory FILE.gguf
Where the file is absent, weights are random and of Qwen2.5-Coder-0.5B's shape: as fast.
Prints `figure X`: tokens a second, seconds (group), or peak MB (the memories). lora: PEFT's, rank 16
on all linear layers, a loss at every position. decode: one sequence at
a context of 2048; decode32: 32 together, each after a 1024-token prompt of its own.
"""
import os
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

PROMPT, GROUP, NEW = 1024, 8, 64
CONTEXT, STEPS, MANY, MANY_STEPS = 2048, 24, 32, 16


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


# Tokens a second after prompts of `length` tokens, each time from where the last ended.
def decode_many(model, sequences, length, steps, repeats=3):
    ids = torch.randint(100, 40000, (sequences, length))
    with torch.inference_mode():
        read = model(ids, logits_to_keep=1, use_cache=True)
        cache, last = read.past_key_values, read.logits[:, -1:].argmax(-1)

        def work():
            nonlocal last
            for _ in range(steps):
                last = model(last, past_key_values=cache, use_cache=True).logits.argmax(-1)

        return sequences * steps / timed(work, repeats)


def decode(model):
    return decode_many(model, 1, CONTEXT - STEPS * 3 // 2, STEPS)


def decode32(model):
    return decode_many(model, MANY, PROMPT, MANY_STEPS)


def group(model):
    ids = torch.randint(100, 40000, (1, PROMPT)).expand(GROUP, -1)
    options = dict(max_new_tokens=NEW, min_new_tokens=NEW, do_sample=True, pad_token_id=0)
    with torch.inference_mode():
        return timed(lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options), 2)


def sft(model):
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    ids = torch.randint(100, 40000, (1, PROMPT))

    def step():
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return PROMPT / timed(step, 4)


def sft_memory(model):
    sft(model)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lora(model):
    from peft import LoraConfig, get_peft_model
    layers = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    return sft(get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=layers)))


def lora_memory(model):
    lora(model)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(path):
    folder, name = os.path.split(path)
    if os.path.exists(path):
        return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    config = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864,
                         num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                         tie_word_embeddings=True, rope_theta=1e6)
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def main():
    what, path = sys.argv[1:]
    torch.set_num_threads(os.cpu_count())
    model = load(path)
    work = {'prefill': prefill, 'decode': decode, 'decode32': decode32, 'group': group, 'sft': sft,
            'sft_memory': sft_memory, 'lora': lora, 'lora_memory': lora_memory}[what]
    print('figure', work(model.eval()))


if __name__ == '__main__':
    main()
