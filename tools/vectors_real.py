"""Makes tests/vectors/model_real: what transformers computes in fp32 from real models' weights.

usage: vectors_real.py [--verify] OUT NAME FILE.gguf      (needs torch, transformers, gguf, tokenizers)

Writes OUT/NAME.bin. The weights are the file's own, dequantised by the `gguf` package into the model's
state dict; --verify compares them with what transformers itself reads from the file. Records, in the
format of vectors_model.py:

  ids         a prompt of a few hundred tokens, as the chat template writes it
  positions   those of its positions at which the rest was taken
  top_ids     [positions, 32] the likeliest next tokens, the best first
  top_logits  [positions, 32]
  logprobs    [tokens - 1] of the prompt's own tokens, each after those before it
  columns     64 tokens from all over the vocabulary
  logits      [positions, 64] of these tokens
  eager_sdpa  [1, 1] the largest difference, over all positions and the whole vocabulary, between
              transformers' two implementations of attention
  code        [windows, 512] tokens of real Python code
  best        [windows, 512] the likeliest token after each
  margin      [windows, 512] by how much its logit beats the second one's (nats)
"""
import argparse
import os
import sysconfig

import gguf
import numpy as np
import torch
import transformers

import vectors_model
import vectors_tokenizer
from vectors_weights import hf_name, unpermuted

POSITIONS, TOP, COLUMNS, WINDOW = 40, 32, 64, 512
MODULES = ["statistics", "argparse", "dataclasses", "csv"]
SKIPPED = 3000      # characters of a module before its window: licences and long comments

RULES = """You improve machine-learning scripts. Reply with a thought and one edit:
<<<<<<< SEARCH
lines of the script
=======
lines that replace them
>>>>>>> REPLACE"""
REPLY = """Thought: A single neighbour is noisy; the mean of all nine pixels says more than the centre.
<<<<<<< SEARCH
    parts = [pixels[:, 4]]
=======
    parts = [pixels[:, 4], pixels.mean(axis=1), pixels.std(axis=1)]
>>>>>>> REPLACE
"""


def config_of(reader):
    arch = reader.fields["general.architecture"].contents()

    def field(key):
        return reader.fields[f"{arch}.{key}"].contents()

    shapes = {t.name: t.shape for t in reader.tensors}
    make = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[arch]
    return make(
        vocab_size=int(shapes["token_embd.weight"][1]), hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=field("context_length"),
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")},
        tie_word_embeddings="output.weight" not in shapes, use_sliding_window=False)


def state_of(reader, config):
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = tensor.name.split(".")[-2]
        if config.model_type == "llama" and part in heads:
            values = unpermuted(values, heads[part])
        state[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(values))
    return state


def load(path):
    reader = gguf.GGUFReader(path)
    config = config_of(reader)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    left = model.load_state_dict(state_of(reader, config), assign=True, strict=False)
    assert not left.unexpected_keys, left
    assert left.missing_keys == (["lm_head.weight"] if config.tie_word_embeddings else []), left
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)   # it is no part of the state
    assert not any(p.is_meta for p in [*model.parameters(), *model.buffers()])
    assert all(p.dtype == torch.float32 for p in model.parameters())
    return model.eval()


def verify(model, path):
    """What transformers reads from the file by itself, beside ours."""
    folder, name = os.path.split(os.path.abspath(path))
    other = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    ours, theirs = model.state_dict(), other.state_dict()
    equal = sum(torch.equal(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())
    print(f"{equal} of {len(ours)} tensors as transformers reads them ({len(theirs)})")
    for key in sorted(ours.keys() & theirs.keys()):
        if not torch.equal(ours[key], theirs[key]):
            print(f"  {key}: largest difference {float((ours[key] - theirs[key]).abs().max()):.3g}")


def encoder(path):
    pre, vocab, merges, special = vectors_tokenizer.read_gguf(path)
    tokenizer = vectors_tokenizer.build(pre, vocab, merges)
    return (lambda text: tokenizer.encode(text).ids), special


def prompt_ids(encode, special):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../tasks/landsat-greysoil/env/train.py"), encoding="utf-8") as f:
        script = f.read()
    start, end = special["<|im_start|>"], special["<|im_end|>"]
    ids = []
    for role, text in (("system", RULES), ("user", f"The script:\n{script}")):
        ids += [start, *encode(f"{role}\n{text}"), end, *encode("\n")]
    return ids + [start, *encode(f"assistant\n{REPLY}")]


def code_windows(encode):
    windows = []
    for name in MODULES:
        with open(os.path.join(sysconfig.get_path("stdlib"), name + ".py"), encoding="utf-8") as f:
            text = f.read()
        windows.append(encode(text[text.index("\n", SKIPPED) + 1:])[:WINDOW])
        assert len(windows[-1]) == WINDOW
    return windows


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor(ids)[None], use_cache=False).logits[0]


def write_prompt(writer, model, ids):
    positions = torch.linspace(0, len(ids) - 1, POSITIONS).round().long()
    columns = torch.from_numpy(np.random.default_rng(5).choice(model.config.vocab_size, COLUMNS, False))
    eager = logits_of(model, ids)
    model.set_attn_implementation("sdpa")
    gap = float((logits_of(model, ids) - eager).abs().max())
    model.set_attn_implementation("eager")
    top = torch.topk(eager[positions], TOP)
    writer.put("ids", ids)
    writer.put("positions", positions)
    writer.put("top_ids", top.indices)
    writer.put("top_logits", top.values)
    logp = torch.log_softmax(eager[:-1].double(), -1)
    writer.put("logprobs", logp.gather(1, torch.tensor(ids)[1:, None])[:, 0])
    writer.put("columns", columns)
    writer.put("logits", eager[positions][:, columns])
    writer.put("eager_sdpa", [gap])
    print(f"{len(ids)} tokens of prompt; eager against sdpa: {gap:.3g}")


def write_code(writer, model, windows):
    best, margin = [], []
    for window in windows:
        top = torch.topk(logits_of(model, window), 2)
        best.append(top.indices[:, 0].numpy())
        margin.append((top.values[:, 0] - top.values[:, 1]).numpy())
    writer.put("code", windows)
    writer.put("best", best)
    writer.put("margin", margin)
    hits = np.mean([b[:-1] == np.array(w[1:]) for b, w in zip(best, windows)])
    print(f"{sum(map(len, windows))} tokens of code; the best is the next one at {hits:.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("file")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(os.cpu_count())
    model = load(args.file)
    if args.verify:
        verify(model, args.file)
        return
    encode, special = encoder(args.file)
    writer = vectors_model.Writer(os.path.join(args.out, args.name + ".bin"))
    write_prompt(writer, model, prompt_ids(encode, special))
    write_code(writer, model, code_windows(encode))


if __name__ == "__main__":
    main()
