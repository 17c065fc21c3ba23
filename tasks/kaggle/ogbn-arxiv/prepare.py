"""OGB's arxiv: its raw CSV files and its split by time."""

import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

RAW = ["edge.csv.gz", "node-feat.csv.gz", "node-label.csv.gz", "node_year.csv.gz"]
SPLIT = [f"split/time/{name}.csv.gz" for name in ("train", "valid", "test")]


def build(source):
    source.need(*(f"raw/{name}" for name in RAW), *SPLIT)
    edges, features, label, year = (
        source.table(f"raw/{name}", [], header=None).to_numpy() for name in RAW)
    nodes = len(label)
    if len(features) != nodes or len(year) != nodes or edges.max() >= nodes:
        raise common.PrepareError(f"the raw files of {source.path} do not fit each other")
    test = np.zeros(nodes, dtype=bool)
    test[source.table(SPLIT[2], [], header=None).to_numpy().ravel()] = True
    new = np.random.default_rng(common.SEED).permutation(nodes)     # the node's new number

    def graph(public, rows):
        moved = np.empty_like(features, dtype=np.float32)
        moved[new] = features
        np.save(public / "features.npy", moved)
        np.save(public / "edges.npy", new[edges])

    table = pd.DataFrame({"node": new, "year": year.ravel(), "label": label.ravel(),
                          "_test": test})
    return table, {}, graph


if __name__ == "__main__":
    common.run(__file__, build, constant=16)
