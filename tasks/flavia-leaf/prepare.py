"""Leaves of 32 species (Flavia) from R's modeldata: numbers and words measured on each picture."""

import io
import lzma
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = pd.read_pickle(io.BytesIO(lzma.decompress(files[0])))
    # rownames follow the species; outlying_contour is 0 for all.
    return table.drop(columns=["rownames", "outlying_contour"])


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=953, test_rows=953, constant=round(1 / 32, 6))
