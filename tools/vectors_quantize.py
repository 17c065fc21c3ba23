"""Makes tests/vectors/model_weights/quantize.bin: what the `gguf` package makes of fp32 values when
it writes the types that mlagent writes.

usage: vectors_quantize.py OUT.bin      (needs gguf and numpy)

For each type: its number and a count of values (4 bytes each, little-endian), the values (fp32), the
blocks that gguf.quantize gives.
"""
import struct
import sys

import gguf
import numpy as np

BLOCK = 32
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0")


def values():
    """Blocks of many magnitudes, of zeroes, of equal extremes of both signs, and of exact ties."""
    rng = np.random.default_rng(11)
    blocks = [rng.standard_normal(BLOCK) * 10.0 ** power for power in range(-9, 5)]
    blocks.append(np.zeros(BLOCK))
    blocks.append(np.where(np.arange(BLOCK) % 2, 0.75, -0.75))
    blocks.append(np.where(np.arange(BLOCK) % 2, -0.75, 0.75))
    blocks.append((np.arange(BLOCK) - 16) / 254)                  # ties of Q8_0
    blocks.append((np.arange(BLOCK) - 16) * 0.5)                  # ties of Q4_0
    blocks.append(1 + np.arange(BLOCK) * 2.0 ** -11)              # ties of half precision
    blocks.append((np.arange(BLOCK) - 16) * 2.0 ** -25)           # its subnormals, and their ties
    blocks.append(65504 - np.arange(BLOCK) * 16.0)
    return np.concatenate(blocks).astype(np.float32)


def main():
    data = values()
    with open(sys.argv[1], "wb") as f:
        for name in TYPES:
            kind = gguf.GGMLQuantizationType[name]
            packed = gguf.quantize(data, kind)
            f.write(struct.pack("<II", int(kind), len(data)) + data.tobytes() + packed.tobytes())


main()
