#!/usr/bin/env python3
"""Makes the vectors of tests/test_model_*.c with PyTorch and transformers, in fp32.

usage: vectors_model.py OUT_DIR [--gguf FILE.gguf]

Needs torch and transformers (and gguf for --gguf); the tests need none of them. Without --gguf:
tiny random Llama and Qwen2 models, whose weights come from a formula that tests/model_fixture.h
repeats, so only results are stored: logits, every gradient of the mean loss of one sequence, and the
losses, gradient norms and weights of five AdamW steps with clipping. With --gguf: the ten most
likely next tokens of a real prompt under that file's weights, as transformers dequantises them.

A vector file is a list of records: u32 length of the name, name, u32 rows, u32 columns, fp32 values;
all little-endian.
"""
import argparse
import os
import struct

import numpy as np
import torch

TOKENS = 21
STEPS = 5


def fnv(name):
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 % 2**32
    return h


def values(name, count):
    """Uniform in +-0.25 (norms: 1 +- 0.25), from the name and the index alone."""
    u = (np.arange(count, dtype=np.uint64) + np.uint64(fnv(name))) * np.uint64(2654435761) % np.uint64(2**32)
    u ^= u >> np.uint64(15)
    u = u * np.uint64(2246822519) % np.uint64(2**32)
    u ^= u >> np.uint64(13)
    out = (u.astype(np.float64) / 2**32 - 0.5) * 0.5
    return (out + (1 if 'norm' in name else 0)).astype(np.float32)


class Writer:
    def __init__(self, path):
        self.file = open(path, 'wb')

    def put(self, name, array):
        array = np.ascontiguousarray(array, dtype=np.float32)
        array = array.reshape(1, -1) if array.ndim < 2 else array.reshape(array.shape[0], -1)
        self.file.write(struct.pack('<I', len(name)) + name.encode())
        self.file.write(struct.pack('<II', *array.shape) + array.tobytes())


CASES = {
    'llama_tied': dict(arch='llama', dim=32, layers=2, heads=4, kv_heads=2, head_dim=8, hidden=48, tied=True),
    'llama_untied': dict(arch='llama', dim=64, layers=1, heads=4, kv_heads=1, head_dim=16, hidden=80, tied=False),
    'qwen2_tied': dict(arch='qwen2', dim=48, layers=2, heads=3, kv_heads=3, head_dim=16, hidden=64, tied=True),
    'qwen2_untied': dict(arch='qwen2', dim=32, layers=2, heads=4, kv_heads=2, head_dim=8, hidden=40, tied=False),
}
VOCAB = 97


def build(case):
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
    kind = {'llama': (LlamaConfig, LlamaForCausalLM), 'qwen2': (Qwen2Config, Qwen2ForCausalLM)}[case['arch']]
    extra = {'head_dim': case['head_dim']} if case['arch'] == 'llama' else {}
    config = kind[0](vocab_size=VOCAB, hidden_size=case['dim'], num_hidden_layers=case['layers'],
                     num_attention_heads=case['heads'], num_key_value_heads=case['kv_heads'],
                     intermediate_size=case['hidden'], max_position_embeddings=512, rms_norm_eps=1e-5,
                     rope_parameters={'rope_type': 'default', 'rope_theta': 10000.0},
                     tie_word_embeddings=case['tied'], attn_implementation='eager', **extra)
    model = kind[1](config).to(torch.float32).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.from_numpy(values(name, p.numel())).reshape(p.shape))
    return model


def loss_of(model, ids):
    logits = model(ids[None]).logits[0]
    return torch.nn.functional.cross_entropy(logits[:-1], ids[1:]), logits


def tiny(out, name, case):
    model = build(case)
    ids = torch.from_numpy(np.array([(i * 31 + 7) % VOCAB for i in range(TOKENS)]))
    writer = Writer(os.path.join(out, name + '.bin'))
    loss, logits = loss_of(model, ids)
    writer.put('logits', logits.detach().numpy())
    if name not in ('llama_tied', 'qwen2_untied'):
        return
    loss.backward()
    for pname, p in model.named_parameters():
        writer.put('grad:' + pname, p.grad.numpy())
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW([{'params': matrices, 'weight_decay': 0.1},
                                   {'params': vectors, 'weight_decay': 0.0}], lr=1e-3, eps=1e-5)
    losses, norms = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss, _ = loss_of(model, ids)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        losses.append(float(loss.detach()))
        optimiser.step()
    writer.put('losses', np.array(losses))
    writer.put('norms', np.array(norms))
    for pname, p in model.named_parameters():
        writer.put('after:' + pname, p.detach().numpy())


PROMPT = ('<|im_start|>user\nWrite a Python function that fits a random forest with scikit-learn and '
          'prints its accuracy on a held-out set.<|im_end|>\n<|im_start|>assistant\n')


def real(out, path):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    ids = tokenizer(PROMPT, return_tensors='pt').input_ids[0]
    with torch.no_grad():
        logits = model(ids[None]).logits[0].double()
    logp = torch.log_softmax(logits, -1)
    top = torch.topk(logp[-1], 10)
    writer = Writer(os.path.join(out, 'smollm2.bin'))
    writer.put('ids', ids.numpy())
    writer.put('top_ids', top.indices.numpy())
    writer.put('top_logprobs', top.values.numpy())
    writer.put('logprobs', logp[:-1].gather(1, ids[1:, None])[:, 0].numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out')
    parser.add_argument('--gguf')
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if args.gguf:
        real(args.out, args.gguf)
        return
    for name, case in CASES.items():
        tiny(args.out, name, case)


if __name__ == '__main__':
    main()
