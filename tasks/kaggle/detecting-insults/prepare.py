"""Detecting Insults: train.csv, and test_with_solutions.csv as the test set."""

import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

COLUMNS = ["Insult", "Date", "Comment"]


def build(source):
    source.need("train.csv", "test_with_solutions.csv")
    train = source.table("train.csv", COLUMNS)[COLUMNS]
    test = source.table("test_with_solutions.csv", COLUMNS)[COLUMNS]
    test = test[~test["Comment"].isin(train["Comment"])]
    return pd.concat([train.assign(_test=False), test.assign(_test=True)], ignore_index=True)


if __name__ == "__main__":
    common.run(__file__, build, constant=0)
