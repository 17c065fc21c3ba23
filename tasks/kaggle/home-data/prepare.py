"""Kaggle's house prices: train.csv, without Id."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

COLUMNS = ["Id", "MSSubClass", "MSZoning", "LotArea", "Neighborhood", "OverallQual", "YearBuilt",
           "GrLivArea", "SalePrice"]


def build(source):
    return source.table("train.csv", COLUMNS, keep_default_na=False).drop(columns="Id")


if __name__ == "__main__":
    common.run(__file__, build, constant=180000)
