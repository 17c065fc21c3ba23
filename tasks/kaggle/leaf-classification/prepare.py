"""Kaggle's leaves: train.csv, without its ids; the pictures are not used."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

FEATURES = [f"{kind}{i}" for kind in ("margin", "shape", "texture") for i in range(1, 65)]


def build(source):
    return source.table("train.csv", ["id", "species", *FEATURES])[[*FEATURES, "species"]]


if __name__ == "__main__":
    common.run(__file__, build, constant=0.5)
