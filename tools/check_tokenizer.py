"""Checks our tokenizers against Hugging Face's, id by id, on a large mixed text.

usage: check_tokenizer.py [--megabytes N] [--program FILE] MODEL.gguf...
       (needs gguf and tokenizers; --program: the built tests/tokenize_file.c)

The text is what the machine has: Python's standard library and site-packages, documentation, locale
definitions, translations of programs into every language there is, Unicode's tables; and what it has
too little of: digits, white space, special tokens as text, code points from all over, damaged UTF-8.
It is cut into texts of a byte to a megabyte, wherever the cut falls. The oracle is built from the
model's vocabulary as the model's own tokenizer.json has it (vectors_tokenizer.build); it is given
the bytes as Python's decode(errors="replace") reads them, and no special token is registered with it,
so that special tokens are plain text. Exit status 1 when any id differs.
"""
import argparse
import gettext
import glob
import gzip
import os
import random
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time

import vectors_tokenizer

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
           "<|repo_name|>", "<|file_sep|>", "<repo_name>", "<file_sep>", "<jupyter_code>", "<tool_call>", "[PAD]"]
LONGEST_FILE = 400_000


def shuffled(rng, paths):
    paths = sorted(paths)
    rng.shuffle(paths)
    return paths


def read(path):
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
            return f.read(LONGEST_FILE)
    except OSError:
        return b""


def files_below(folder, *suffixes):
    for root, _, names in os.walk(folder):
        for name in names:
            if not suffixes or name.endswith(suffixes):
                yield os.path.join(root, name)


def read_files(rng, paths):
    return (read(path) for path in shuffled(rng, paths))


def translations(rng):
    """The messages of every program in every language, one language after another."""
    by_language = {}
    for path in glob.glob("/usr/share/locale/*/LC_MESSAGES/*.mo"):
        by_language.setdefault(path.split("/")[4], []).append(path)
    queues = [shuffled(rng, paths) for _, paths in sorted(by_language.items())]
    while any(queues):
        for queue in queues:
            if queue:
                yield messages(queue.pop())


def messages(path):
    try:
        with open(path, "rb") as f:
            catalogue = gettext.GNUTranslations(f)._catalog
    except (OSError, ValueError, LookupError):
        return b""
    return "\n".join(t for t in catalogue.values() if isinstance(t, str)).encode()[:60_000]


def digits_and_spaces(rng):
    """Tables of numbers, indented code without code, runs of one character."""
    runs = [" ", "\n", "\t", "\r\n", "=", "-", "0", "#", "a", "\u00a0", "\u3000", "'", "é", "漢", "\u0301"]
    while True:
        kind = rng.randrange(3)
        if kind == 0:
            rows = [",".join(repr(rng.uniform(-1e6, 1e6)) for _ in range(rng.randrange(1, 12))) for _ in range(40)]
            yield "\n".join(rows).encode()
        elif kind == 1:
            yield "".join(rng.choice([" ", "\n", "\t", "\r\n", "x", "1", "."]) * rng.randrange(1, 30)
                          for _ in range(200)).encode()
        else:
            yield "".join(rng.choice(runs) * rng.randrange(1, 1500) for _ in range(6)).encode()


def special_tokens(rng):
    words = SPECIAL + [" ", "\n", "system", "user", "assistant", "<|", "|>", "im_end", "<|im_end", "im_start|>", "\n\n", "print("]
    while True:
        yield "".join(rng.choice(words) for _ in range(rng.randrange(1, 60))).encode()


def code_points(rng):
    while True:
        yield (vectors_tokenizer.anything(rng) if rng.random() < 0.5 else vectors_tokenizer.fragments(rng)).encode()


def damaged(rng):
    """Text of several scripts, damaged; and bytes at random."""
    whole = ("\n".join(vectors_tokenizer.PROSE) + vectors_tokenizer.EMOJI).encode()
    while True:
        if rng.random() < 0.3:
            yield rng.randbytes(rng.randrange(1, 300))
            continue
        at = rng.randrange(len(whole))
        piece = bytearray(whole[at:at + rng.randrange(1, 2000)])
        for _ in range(1 + len(piece) // 40):
            piece[rng.randrange(len(piece))] = rng.choice([rng.randrange(256), 0xe2, 0xf0, 0xed, 0xff])
        yield bytes(piece)


def sources(rng):
    """(name, share of the corpus, what it yields)"""
    stdlib, packages = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")
    unicode_tables = [p for folder in glob.glob("/usr/share/perl/*/unicore") for p in files_below(folder)]
    return [
        ("standard library", 0.20, read_files(rng, (p for p in files_below(stdlib, ".py") if "site-packages" not in p))),
        ("site-packages", 0.20, read_files(rng, files_below(packages, ".py", ".pyi", ".h", ".c", ".js", ".html", ".md", ".txt"))),
        ("documentation", 0.10, read_files(rng, files_below("/usr/share/doc"))),
        ("locale definitions", 0.08, read_files(rng, files_below("/usr/share/i18n/locales"))),
        ("translations", 0.22, translations(rng)),
        ("Unicode tables", 0.02, read_files(rng, unicode_tables)),
        ("digits, white space, runs", 0.05, digits_and_spaces(rng)),
        ("special tokens as text", 0.03, special_tokens(rng)),
        ("code points from all over", 0.05, code_points(rng)),
        ("damaged UTF-8", 0.05, damaged(rng)),
    ]


def cut(rng, document):
    """Pieces of a document, at any byte."""
    at = 0
    while at < len(document):
        n = int(rng.choice([1, 1, 100, 1000, 20_000]) * rng.uniform(1, 20))
        yield document[at:at + n]
        at += n


def corpus(rng, total):
    """[(source, [text])]"""
    out = []
    for name, share, documents in sources(rng):
        texts, size = [], 0
        for document in documents:
            if size >= share * total:
                break
            texts += cut(rng, document)
            size += len(document)
        out.append((name, texts))
    whole = [b"a" * 1_000_000, b"ab" * 500_000, b" " * 300_000, "漢".encode() * 100_000, b"=" * 300_000]
    return out + [("long words", whole)]


def ours(program, model, texts, folder):
    paths = [os.path.join(folder, name) for name in ("texts", "ids")]
    with open(paths[0], "wb") as f:
        for text in texts:
            f.write(struct.pack("<I", len(text)) + text)
    speed = subprocess.run([program, model, *paths], check=True, capture_output=True, text=True).stdout.strip()
    with open(paths[1], "rb") as f:
        ids = memoryview(f.read()).cast("i")
    out, at = [], 0
    for _ in texts:
        out.append(ids[at + 1:at + 1 + ids[at]])
        at += 1 + ids[at]
    assert at == len(ids)
    return out, speed


def show_difference(text, got, want):
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    print(f"    differs at token {at}: ours {list(got[at:at + 6])}, theirs {list(want[at:at + 6])}, in {text[:200]!r}")


def check(model, corpus_parts, program, folder):
    pre, vocab, merges, special = vectors_tokenizer.read_gguf(model)
    oracle = vectors_tokenizer.build(pre, vocab, merges)
    print(f"{os.path.basename(model)}: pre-tokenizer {pre}, {len(vocab)} tokens, {len(merges)} merges")
    special_ids = set(special.values())
    texts = [text for _, part in corpus_parts for text in part]
    got, speed = ours(program, model, texts, folder)
    at = bad = spent = tokens = 0
    for name, part in corpus_parts:
        wrong = part_tokens = 0
        for text in part:
            began = time.process_time()
            want = oracle.encode(text.decode(errors="replace")).ids
            spent += time.process_time() - began
            part_tokens += len(want)
            if list(got[at]) != want or special_ids & set(want):
                wrong += 1
                if bad + wrong <= 5:
                    show_difference(text, got[at], want)
            at += 1
        bad += wrong
        tokens += part_tokens
        print(f"  {name:26} {len(part):7} texts {sum(map(len, part)) / 1e6:7.2f} MB {part_tokens:9} ids, {wrong} texts differ")
    size = sum(map(len, texts))
    print(f"  {'all':26} {len(texts):7} texts {size / 1e6:7.2f} MB {tokens:9} ids, {bad} texts differ;"
          f" ours {speed}, tokenizers {size / spent * 1e-6:.2f} MB/s")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--megabytes", type=float, default=24)
    parser.add_argument("--program", default="build/tests/tokenize_file")
    args = parser.parse_args()
    parts = corpus(random.Random(7), args.megabytes * 1e6)
    with tempfile.TemporaryDirectory() as folder:
        return 1 if sum([check(model, parts, args.program, folder) for model in args.models]) else 0


if __name__ == "__main__":
    sys.exit(main())
