"""Spooky Author Identification: train.csv, without its ids."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(source):
    return source.table("train.csv", ["id", "text", "author"])[["text", "author"]]


if __name__ == "__main__":
    common.run(__file__, build, constant=0.5)
