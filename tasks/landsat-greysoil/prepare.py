"""Landsat 3x3 neighbourhoods from R's mlbench, as a yes/no question: damp grey soil?"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

BANDS, PIXELS = 4, 9


def build(files):
    table = common.read_r(files[0], ".rda")["Satellite"]
    table.columns = [f"p{pixel}_b{band}" for pixel in range(1, PIXELS + 1)
                     for band in range(1, BANDS + 1)] + ["grey"]
    table["grey"] = (table["grey"] == "damp grey soil").astype(int)
    return table.astype(int)


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=3200, test_rows=3200, constant=0.5)
