"""One GRPO step of TRL in bf16 on the CPU, for the ratios of bench_rl: 8 actions of 96 tokens from
one 1024-token prompt, then the update. Rewards are drawn, as in bench_rl; no KL term.

usage: trl_step.py rl_step|rl_memory FILE.gguf
Prints `figure X`: seconds of the faster of two steps, or peak MB.
"""
import os
import random
import resource
import sys
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

GROUP, PROMPT, NEW = 8, 1024, 96


class Clock(TrainerCallback):
    def __init__(self):
        self.best = float('inf')

    def on_step_begin(self, *args, **kwargs):
        self.began = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.best = min(self.best, time.perf_counter() - self.began)


def rewards(completions, **_):
    return [random.random() for _ in completions]


def prompt_of(tokenizer):
    text = 'def step(x, y):\n    return x + y\n' * PROMPT
    return tokenizer.decode(tokenizer(text)['input_ids'][:PROMPT])


# The weights as they were dequantised: the trainer refuses a model that it takes for a quantised one.
def load(folder, name):
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    config = read.config
    if hasattr(config, 'quantization_config'):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    return model


def main():
    what, path = sys.argv[1:]
    folder, name = os.path.split(path)
    torch.set_num_threads(os.cpu_count())
    model = load(folder, name)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    data = Dataset.from_list([{'prompt': prompt_of(tokenizer)}] * GROUP)
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=out, per_device_train_batch_size=GROUP, num_generations=GROUP,
            max_completion_length=NEW, generation_kwargs={'min_new_tokens': NEW},
            max_steps=2 if what == 'rl_step' else 1, learning_rate=1e-6, beta=0.0, report_to=[],
            save_strategy='no', bf16=False, use_cpu=True, gradient_checkpointing=False)
        GRPOTrainer(model=model, reward_funcs=rewards, args=config, train_dataset=data,
                    processing_class=tokenizer, callbacks=[clock]).train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print('figure', clock.best if what == 'rl_step' else peak)


if __name__ == '__main__':
    main()
