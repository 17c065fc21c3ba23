"""Films and their genres from ggplot2movies: title, year, length, budget and how they were rated."""

import io
import lzma
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = pd.read_pickle(io.BytesIO(lzma.decompress(files[0]))).drop(columns="rownames")
    genres = ["Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short"]
    # A film without any genre has none recorded; one title is on one side of the split.
    return table[table[genres].sum(axis=1) > 0].drop_duplicates(subset="title")


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=5000, test_rows=5000, constant=0.5)
