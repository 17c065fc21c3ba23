"""Diseases of soybean plants from R's mlbench: what was seen on a plant, in coded answers."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = common.read_r(files[0], ".rda")["Soybean"]
    table.columns = ["disease"] + [name.replace(".", "_") for name in table.columns[1:]]
    table = table.astype(str).replace("nan", "")
    # Rows alike in all that was seen can differ in disease: both go.
    return table.drop_duplicates().drop_duplicates(subset=list(table.columns[1:]), keep=False)


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=314, test_rows=314, constant=round(1 / 19, 6))
