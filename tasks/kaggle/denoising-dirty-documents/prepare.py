"""Dirty documents: train/N.png and train_cleaned/N.png; some pixels of each are rows."""

import io
import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

PIXELS = 2000       # of a page


def pages(source, folder):
    """Grey pages, float32 from 0 (black) to 1 (white), by number."""
    from PIL import Image
    return {int(name.split(".")[0]):
            np.asarray(Image.open(io.BytesIO(read())).convert("L"), np.float32) / 255
            for name, read in source.folder(folder, ".png").items()}


def build(source):
    dirty, clean = pages(source, "train"), pages(source, "train_cleaned")
    rng, parts = np.random.default_rng(common.SEED), []
    for page, scan in sorted(dirty.items()):
        if page not in clean or clean[page].shape != scan.shape:
            raise common.PrepareError(f"train_cleaned/{page}.png is lacking or of another size")
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
