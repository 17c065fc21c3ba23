"""Printed capital letters from R's mlbench: sixteen numbers measured on the image of each."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = common.read_r(files[0], ".rda")["LetterRecognition"]
    table.columns = ["letter"] + [name.replace(".", "_") for name in table.columns[1:]]
    table = table.astype({name: int for name in table.columns[1:]})
    return table.assign(letter=table["letter"].astype(str))


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=6000, test_rows=6000, constant="A")
