"""Works in the Tate collection from R's modeldata. Left out: id, which follows acquisition."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

LEAST_WORKS = 10


def build(files):
    table = common.read_rdb(files[0], files[1], "tate_text").drop(columns="id")
    table = table.dropna(subset=["year"]).astype({"title": str, "medium": str, "year": int})
    # A label of map5 holds no blanks.
    names = sorted(set(table["artist"].astype(str)))
    number = {name: f"artist{i:03d}" for i, name in enumerate(names)}
    table["artist"] = table["artist"].astype(str).map(number)
    table = table.drop_duplicates(subset=["title", "medium", "year"])
    works = table["artist"].map(table["artist"].value_counts())
    return table[works >= LEAST_WORKS]


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=913, test_rows=913, constant="artist000")
