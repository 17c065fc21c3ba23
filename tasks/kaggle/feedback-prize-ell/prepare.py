"""Feedback Prize, English Language Learning: train.csv, without text_id."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

RATINGS = ["cohesion", "syntax", "vocabulary", "phraseology", "grammar", "conventions"]


def build(source):
    return source.table("train.csv", ["text_id", "full_text", *RATINGS]).drop(columns="text_id")


if __name__ == "__main__":
    common.run(__file__, build, constant=3)
