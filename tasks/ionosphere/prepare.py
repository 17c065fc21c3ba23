"""Radar returns from R's mlbench: good ones show some structure in the ionosphere."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


def build(files):
    table = common.read_r(files[0], ".rda")["Ionosphere"]
    # V1 is 0 or 1, V2 always 0; V3 to V34 are 17 complex autocorrelations less the first.
    table = table.drop(columns="V2").rename(columns={"Class": "good"})
    table["V1"] = table["V1"].astype(str).astype(int)
    return table.assign(good=(table["good"] == "good").astype(int))


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=175, test_rows=175, constant=0.5)
