"""Automated Essay Scoring 2.0: train.csv, without essay_id."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(source):
    return source.table("train.csv", ["essay_id", "full_text", "score"]).drop(columns="essay_id")


if __name__ == "__main__":
    common.run(__file__, build, constant=3)
