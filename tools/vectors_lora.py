#!/usr/bin/env python3
"""Makes the vectors of tests/test_model_lora.c with PEFT over transformers, in fp32.

usage: vectors_lora.py OUT_DIR

Needs torch, transformers and peft; the tests need none of them. The models are the tiny ones of
vectors_model.py and their adapters' A and B come from the same formula, by PEFT's names of them. For
each case: NAME.bin has the logits and the gradients of every A and B, of the mean loss of one
sequence, and NAME/ is the adapter as PEFT saves it.
"""
import os
import sys

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

import vectors_model

ALL = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
CASES = {
    'llama_tied': dict(r=4, lora_alpha=8, target_modules=ALL),
    'qwen2_untied': dict(r=6, lora_alpha=9, use_rslora=True,
                         target_modules=['v_proj', 'q_proj', 'up_proj', 'down_proj']),
}


def make(out, name, options):
    base = vectors_model.build(vectors_model.CASES[name])
    base.config._name_or_path = 'tiny/' + name
    base.name_or_path = 'tiny/' + name
    model = get_peft_model(base, LoraConfig(task_type='CAUSAL_LM', **options)).train()
    trained = {n.replace('.default', ''): p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for pname, p in trained.items():
            p.copy_(torch.from_numpy(vectors_model.values(pname, p.numel())).reshape(p.shape))
    ids = torch.from_numpy(np.array([(i * 31 + 7) % vectors_model.VOCAB
                                     for i in range(vectors_model.TOKENS)]))
    loss, logits = vectors_model.loss_of(model, ids)
    loss.backward()
    writer = vectors_model.Writer(os.path.join(out, name + '.bin'))
    writer.put('logits', logits.detach().numpy())
    writer.put('loss', np.array([float(loss.detach())]))
    for pname, p in trained.items():
        writer.put('grad:' + pname, p.grad.numpy())
    model.save_pretrained(os.path.join(out, name))
    os.remove(os.path.join(out, name, 'README.md'))


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    for name, options in CASES.items():
        make(out, name, options)


if __name__ == '__main__':
    main()
