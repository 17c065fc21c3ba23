"""Humpback whales: train.csv and the pictures of train/."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(source):
    table = source.table("train.csv", ["Image", "Id"])
    images = common.pictures(source, "train", table["Image"], 96)
    return table[["Id"]], {"images": images}


if __name__ == "__main__":
    common.run(__file__, build, constant="new_whale")
