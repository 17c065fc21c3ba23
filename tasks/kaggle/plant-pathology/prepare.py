"""Plant Pathology 2020: train.csv and images/Train_N.jpg."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

LABELS = ["healthy", "multiple_diseases", "rust", "scab"]


def build(source):
    table = source.table("train.csv", ["image_id", *LABELS])
    images = common.pictures(source, "images", table["image_id"] + ".jpg", 96)
    strata = table[LABELS].astype(str).agg("".join, axis=1)
    return table[LABELS].assign(_strata=strata), {"images": images}


if __name__ == "__main__":
    common.run(__file__, build, constant=0.25)
