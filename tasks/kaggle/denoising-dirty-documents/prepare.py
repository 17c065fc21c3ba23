"""Dirty documents: train/N.png and train_cleaned/N.png; some pixels of each are rows."""

import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

PIXELS = 2000       # of a page


def pages(source, folder):
    """Grey pages, float32 from 0 (black) to 1 (white), by number."""
    files = {name: read for name, read in source.folder(folder, ".png").items()
             if name.split(".")[0].isdigit()}
    return {int(name.split(".")[0]): common.picture(read, f"{folder}/{name}", mode="L")
            .astype(np.float32) / 255 for name, read in files.items()}


def build(source):
    dirty, clean = pages(source, "train"), pages(source, "train_cleaned")
    for page in sorted(dirty.keys() ^ clean.keys()):
        folder = "train_cleaned" if page in dirty else "train"
        raise common.PrepareError(f"{source.path} has no {folder}/{page}.png: give the "
                                  "competition's whole download")
    rng, parts = np.random.default_rng(common.SEED), []
    for page, scan in sorted(dirty.items()):
        if clean[page].shape != scan.shape:
            raise common.PrepareError(f"train_cleaned/{page}.png is not of train/{page}.png's size")
        row, column = np.divmod(rng.permutation(scan.size)[:PIXELS], scan.shape[1])
        parts.append(pd.DataFrame({"page": page, "row": row, "column": column,
                                   "value": clean[page][row, column], "_group": page}))

    def scans(public, rows):
        train = set(rows.loc[rows["_side"] == "train", "page"])
        np.savez(public / "images.npz", **{str(page): scan for page, scan in dirty.items()})
        np.savez(public / "cleaned.npz", **{str(page): clean[page] for page in sorted(train)})

    return pd.concat(parts, ignore_index=True), {}, scans


if __name__ == "__main__":
    common.run(__file__, build, constant=1)
