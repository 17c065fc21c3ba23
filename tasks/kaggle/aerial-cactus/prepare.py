"""Aerial cactus: train.csv and the 32 x 32 pictures of train/."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(source):
    table = source.table("train.csv", ["id", "has_cactus"])
    images = common.pictures(source, "train", table["id"], 32)
    return table[["has_cactus"]], {"images": images}


if __name__ == "__main__":
    common.run(__file__, build, constant=0.5)
