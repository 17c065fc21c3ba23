"""Emoji of Google's Noto font, 32x32 pixels, with the groups that Unicode puts them in.

Skin tones and sequences are near-copies of a base emoji and left out, as is the group Flags, which
has five single characters.
"""

import hashlib
import pathlib
import re
import struct
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

GROUPS = {"Smileys & Emotion": "smileys", "People & Body": "people", "Animals & Nature": "animals",
          "Food & Drink": "food", "Travel & Places": "travel", "Activities": "activities",
          "Objects": "objects", "Symbols": "symbols"}
SIZE = 32


def unpack(layout, data, at):
    return struct.unpack_from(">" + layout, data, at)


def tables(font):
    """Name -> bytes of a TrueType font's tables."""
    entries = (unpack("4sIII", font, 12 + 16 * i) for i in range(unpack("H", font, 4)[0]))
    return {name.decode(): font[at:at + size] for name, _, at, size in entries}


def characters(cmap):
    """Character -> glyph, from a format 12 table (ranges of characters)."""
    for i in range(unpack("H", cmap, 2)[0]):
        at = unpack("HHI", cmap, 4 + 8 * i)[2]
        if unpack("H", cmap, at)[0] == 12:
            ranges = (unpack("III", cmap, at + 16 + 12 * k)
                      for k in range(unpack("I", cmap, at + 12)[0]))
            return {c: glyph + c - first for first, last, glyph in ranges
                    for c in range(first, last + 1)}
    raise common.PrepareError("the font has no table of characters in format 12")


def bitmaps(places, data):
    """Glyph -> PNG: CBLC says where (index format 1), CBDT holds them (image format 17)."""
    out = {}
    array, _, count = unpack("III", places, 8)
    for i in range(count):
        first, last, more = unpack("HHI", places, array + 8 * i)
        index, image, start = unpack("HHI", places, array + more)
        if (index, image) != (1, 17):
            raise common.PrepareError(f"the font's bitmaps have formats {index} and {image}")
        offsets = unpack(f"{last - first + 2}I", places, array + more + 8)
        for glyph, at in zip(range(first, last + 1), offsets):
            size = unpack("I", data, start + at + 5)[0]
            out[glyph] = data[start + at + 9:start + at + 9 + size]
    return out


def shrink(png):
    """128x136 pixels on white, means of 4x4 pixels from the middle: uint8 [32, 32, 3]."""
    pixels = common.read_png(png).astype(int)
    edge = (pixels.shape[1] - 4 * SIZE) // 2
    pixels = pixels[:, edge:edge + 4 * SIZE]
    alpha = pixels[:, :, 3:] if pixels.shape[2] == 4 else 255
    shown = (pixels[:, :, :3] * alpha + 255 * (255 - alpha)) // 255
    return shown.reshape(SIZE, 4, SIZE, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8)


def labels(text):
    """(character, group) of each emoji that is one character, bar the one that asks for colour."""
    group = None
    for line in text.splitlines():
        if line.startswith("# group: "):
            group = GROUPS.get(line[9:].strip())
        found = re.match(r"([0-9A-F]+)(?: FE0F)?\s*; fully-qualified", line)
        if found and group:
            yield int(found[1], 16), group


def build(files):
    font = tables(files[0])
    glyphs, images = characters(font["cmap"]), bitmaps(font["CBLC"], font["CBDT"])
    rows = []
    for character, group in labels(files[1].decode()):
        pixels = shrink(images[glyphs[character]]).tobytes()
        rows.append({"_key": hashlib.sha256(pixels).hexdigest(), "_pixels": pixels, "group": group})
    return pd.DataFrame(rows)


def write_images(public, train, test):
    for name, rows in (("train", train), ("test", test)):
        pixels = np.frombuffer(b"".join(rows["_pixels"]), np.uint8)
        np.save(public / f"{name}_images.npy", pixels.reshape(-1, SIZE, SIZE, 3))


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=686, test_rows=686, constant="objects", also=write_images)
