"""Writes src/policy/unicode_table.c: the character classes as Hugging Face's `tokenizers` sees them.

They are taken from its behaviour, code point by code point, because its parts follow different
versions of Unicode: the regular expressions one, Digits another, NFC a much older one.
usage: unicode_classes.py > src/policy/unicode_table.c      (needs tokenizers and libutf8proc)
"""
import ctypes
import ctypes.util
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

ALL = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def matching(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    for at in range(0, len(ALL), 64):
        part = ALL[at:at + 64]
        kept = {ord(c) for piece, _ in split.pre_tokenize_str("".join(map(chr, part))) for c in piece}
        found |= set(part) - kept
    return found


def digits():
    split = pre_tokenizers.Digits(individual_digits=True)
    found = set()
    for c in ALL:
        if chr(c) != "a" and len(split.pre_tokenize_str("a" + chr(c))) == 2:
            found.add(c)
    return found


def late_marks():
    """What the normaliser leaves where it is and utf8proc, which is newer, moves or composes.

    (U+11A7 is among it for another reason: utf8proc 2.8 swallows it after a Hangul syllable.)"""
    library = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    library.utf8proc_NFC.restype = ctypes.c_void_p
    nfc = normalizers.NFC()

    def differ(text):
        at = library.utf8proc_NFC(text.encode())
        theirs = ctypes.string_at(at).decode()
        ctypes.CDLL(None).free(ctypes.c_void_p(at))
        return theirs != nfc.normalize_str(text)

    found = set()
    for c in ALL:
        # Marks of class 240 before it and of class 1 after it: a known mark lets one of them pass.
        if differ("a\u0345" + chr(c) + "\u0334") or differ("\uac00" + chr(c)):
            found.add(c)
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(part, 16)) for part in parts)
            if differ(pair):
                found.add(ord(pair[1]))
    return found


def composing(late):
    """What NFC may change, alone or beside a neighbour: all that is not a starter of its own, which
    stays itself, keeps marks before it from those after it, and composes with nothing before it."""
    nfc = normalizers.NFC()
    seconds = {*range(0x1161, 0x1176), *range(0x11A7, 0x11C3)}
    for c in ALL:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(int(parts[1], 16))

    def apart(c):
        text = "a\u0345" + chr(c) + "\u0334"
        return (nfc.normalize_str(chr(c)) == chr(c) and nfc.normalize_str(text) == text
                and unicodedata.normalize("NFC", text) == text)

    return {c for c in ALL if c >= 0x300 and (c in seconds or c in late or not apart(c))}


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, points):
    print(f"\nconst mla__range mla__{name}[] = {{")
    line = "   "
    parts = ranges(points)
    for first, last in parts:
        item = f" {{0x{first:x}, 0x{last:x}}},"
        if len(line) + len(item) > 99:
            print(line)
            line = "   "
        line += item
    print(line)
    print(f"}};\nconst size_t mla__{name}_n = {len(parts)};")


numbers = matching(r"\p{N}")
print(f"""// Character classes beyond ASCII, made by tools/unicode_classes.py with tokenizers {tokenizers.__version__};
// not to be edited.
#include "policy/tokenizer_internal.h\"""")
beyond = {c for c in ALL if c >= 128}
table("letters", matching(r"\p{L}") & beyond)
table("numbers", numbers & beyond)
table("late_digits", (digits() - numbers) & beyond)
late = late_marks() & beyond
table("late_marks", late)
table("composing", composing(late))
