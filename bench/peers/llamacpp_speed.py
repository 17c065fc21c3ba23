"""Speeds of llama.cpp on the CPU, for the ratios of the benchmarks.

usage: llamacpp_speed.py prefill|decode|decode32|group FILE.gguf      (needs llama-cpp-python, numpy)
Reads the tokens that the benchmarks read, and prints `figure X`:

  prefill    tokens a second of a prompt of 1024 tokens
  decode     tokens a second of one sequence at a context of 2048
  decode32   tokens a second of 32 sequences together, each with keys and values of its own for a
             prompt of 1024 tokens (computed once and copied: what they hold costs no time)
  group      seconds for 8 x 64 tokens that share one 1024-token prompt, the prompt included: its
             keys and values are handed to each sequence, as llama.cpp's parallel sampling does

All is tried in the ways that llama.cpp has for it (its own attention or plain products; where a
prompt is shared, one cache for all sequences or one for each), the likeliest token is taken, and the
best counts.
"""
import ctypes
import itertools
import os
import sys
import time

import llama_cpp as llama
import numpy as np

PROMPT, CONTEXT, STEPS = 1024, 2048, 24
GROUP, NEW = 8, 64
MANY, MANY_STEPS = 32, 6
REPEATS = 3


def ids_of(n):
    return [100 + i * 7919 % 40000 for i in range(n)]


class Context:
    """Room for `cells` tokens of `sequences`; what is decoded gives the logits of its last token."""

    def __init__(self, model, cells, sequences, flash, unified):
        options = llama.llama_context_default_params()
        options.n_ctx, options.n_seq_max = cells, sequences
        options.n_batch = options.n_ubatch = 512
        options.n_threads = options.n_threads_batch = os.cpu_count()
        options.flash_attn_type, options.kv_unified = flash, unified
        self.handle = llama.llama_init_from_model(model, options)
        self.memory = llama.llama_get_memory(self.handle)
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.batch = llama.llama_batch_init(options.n_batch, 0, 1)

    def decode(self, rows):
        """Rows are (token, position, sequence, whether logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        if llama.llama_decode(self.handle, batch):
            sys.exit("llama_decode failed")
        llama.llama_synchronize(self.handle)

    def prompt(self, ids, sequence):
        rows = [(t, i, sequence, i == len(ids) - 1) for i, t in enumerate(ids)]
        for start in range(0, len(rows), 512):
            self.decode(rows[start:start + 512])

    def step(self, tokens, position, first=0):
        """Feeds each sequence from `first` on its token; returns the likeliest next ones."""
        self.decode([(t, position, first + i, True) for i, t in enumerate(tokens)])
        return self.likeliest(len(tokens))

    def copy(self, sequences):
        """What the first sequence holds becomes that of the others too."""
        for sequence in sequences:
            llama.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)

    def likeliest(self, n):
        logits = np.ctypeslib.as_array(llama.llama_get_logits(self.handle), shape=(n, self.vocab))
        return logits.argmax(-1).tolist()

    def clear(self):
        llama.llama_memory_clear(self.memory, True)

    def close(self):
        llama.llama_batch_free(self.batch)
        llama.llama_free(self.handle)


def seconds(work):
    """The least of a few goes."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def steps(context, tokens, position, count, first=0):
    for i in range(count):
        tokens = context.step(tokens, position + i, first)


def prefill(model, flash, _):
    context = Context(model, PROMPT, 1, flash, True)

    def work():
        context.clear()
        context.prompt(ids_of(PROMPT), 0)

    took = seconds(work)
    context.close()
    return PROMPT / took


def decode_many(model, flash, sequences, length, count):
    """Tokens a second of `count` steps after prompts of a length, each time from the last's end."""
    room = -(-(length + REPEATS * count) // 256) * 256
    context = Context(model, room * sequences, sequences, flash, False)
    context.prompt(ids_of(length), 0)
    context.copy(range(1, sequences))
    starts = itertools.count(length, count)
    took = seconds(lambda: steps(context, [100] * sequences, next(starts), count))
    context.close()
    return sequences * count / took


def decode(model, flash, _):
    return decode_many(model, flash, 1, CONTEXT - STEPS * REPEATS // 2, STEPS)


def decode32(model, flash, _):
    return decode_many(model, flash, MANY, PROMPT, MANY_STEPS)


def group(model, flash, unified):
    room = PROMPT + GROUP * NEW if unified else (PROMPT + NEW) * (GROUP + 1)
    context = Context(model, room, GROUP + 1, flash, unified)

    def work():
        context.clear()
        context.prompt(ids_of(PROMPT), 0)
        context.copy(range(1, GROUP + 1))
        steps(context, context.likeliest(1) * GROUP, PROMPT, NEW, first=1)

    took = seconds(work)
    context.close()
    return took


@llama.llama_log_callback
def quiet(_level, _text, _data):
    pass


def main():
    what, path = sys.argv[1:]
    llama.llama_log_set(quiet, ctypes.c_void_p())
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    if not model:
        sys.exit(f"{path}: llama.cpp cannot open it")
    work = {"prefill": prefill, "decode": decode, "decode32": decode32, "group": group}[what]
    ways = [(flash, unified) for flash in (llama.LLAMA_FLASH_ATTN_TYPE_ENABLED,
                                           llama.LLAMA_FLASH_ATTN_TYPE_DISABLED)
            for unified in ((True, False) if what == "group" else (False,))]
    figures = [work(model, *way) for way in ways]
    print("ways (flash, unified):", *(f"{w}: {f:.4g}" for w, f in zip(ways, figures)), file=sys.stderr)
    print("figure", (min if what == "group" else max)(figures))


if __name__ == "__main__":
    main()
