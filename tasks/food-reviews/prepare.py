"""Reviews of food from R's modeldata, as a yes/no question: five stars? Left out: the product."""

import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = pd.concat([common.read_rdb(files[0], files[1], name)
                       for name in ("training_data", "testing_data")])
    text = table["review"].astype(str).str.replace(r"\s+", " ", regex=True).str.strip()
    return pd.DataFrame({"review": text, "great": (table["score"] == "great").astype(int)})


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=2400, test_rows=2400, constant=0.5)
