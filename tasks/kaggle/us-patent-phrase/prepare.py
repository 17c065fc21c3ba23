"""Phrase matching: train.csv, whose pairs of one anchor are kept together."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

COLUMNS = ["anchor", "target", "context", "score"]


def build(source):
    table = source.table("train.csv", ["id", *COLUMNS], keep_default_na=False)[COLUMNS]
    return table.assign(_group=table["anchor"])


if __name__ == "__main__":
    common.run(__file__, build, constant=0.25)
