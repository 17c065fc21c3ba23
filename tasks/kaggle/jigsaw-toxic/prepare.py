"""Toxic Comment Classification: train.csv, stratified by its labels together."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]


def build(source):
    table = source.table("train.csv", ["id", "comment_text", *LABELS])[["comment_text", *LABELS]]
    return table.assign(_strata=table[LABELS].astype(str).agg("".join, axis=1))


if __name__ == "__main__":
    common.run(__file__, build, constant=0.5, most=(120000, 30000))
