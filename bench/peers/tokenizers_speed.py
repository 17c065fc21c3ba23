"""Speed of Hugging Face's tokenizers on one core, for the ratio of tokenize_qwen.

usage: tokenizers_speed.py TEXT MODEL.gguf
Tokenises the file TEXT with Qwen2.5-Coder's tokenizer, whose GGUF file lies beside MODEL.gguf, and
prints `figure X`: MB/s, the best of several passes, in the way that is the fastest there: pieces of a
hundred lines, and no offsets.
"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools"))

import vectors_tokenizer  # noqa: E402  (the path is set above)

PASSES, PIECE = 5, 100


def main():
    text_path, model = sys.argv[1:]
    with open(text_path, "rb") as f:
        text = f.read()
    qwen = os.path.join(os.path.dirname(model), "qwen2.5-coder-0.5b-instruct.gguf")
    pre, vocab, merges, _ = vectors_tokenizer.read_gguf(qwen)
    tokenizer = vectors_tokenizer.build(pre, vocab, merges)
    lines = text.decode(errors="replace").splitlines(True)
    pieces = ["".join(lines[i:i + PIECE]) for i in range(0, len(lines), PIECE)]
    best = float("inf")
    for _ in range(PASSES):
        began = time.perf_counter()
        tokenizer.encode_batch_fast(pieces)
        best = min(best, time.perf_counter() - began)
    print("figure", len(text) / best * 1e-6)


if __name__ == "__main__":
    main()
