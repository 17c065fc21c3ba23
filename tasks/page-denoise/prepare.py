"""Two scans of text from scikit-image, cut into squares, with dirt added: take it off again."""

import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

SIZE = 56


def blur(field, width):
    """A Gaussian blur on a torus."""
    rows, columns = (np.fft.fftfreq(n)[:, None] for n in field.shape)
    damp = np.exp(-2 * (np.pi * width) ** 2 * (rows ** 2 + columns.T ** 2))
    return np.real(np.fft.ifft2(np.fft.fft2(field) * damp))


def soiled(clean, rng):
    """The page with stains, a fold and grain; dirt darkens paper more than ink."""
    stain = blur(rng.normal(size=clean.shape), 7.0)
    stain = np.clip(stain / stain.std() - 0.2, 0, None) * rng.uniform(0.1, 0.3)
    y, x = np.indices(clean.shape)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-12, 12)
    across = (x - SIZE / 2) * np.cos(angle) + (y - SIZE / 2) * np.sin(angle) - offset
    fold = rng.uniform(0.1, 0.4) * np.exp(-0.5 * (across / rng.uniform(1, 3)) ** 2)
    dirty = clean * (1 - np.clip(stain + fold, 0, 0.8)) + rng.normal(0, 0.08, clean.shape)
    return np.clip(dirty, 0, 1)


def build(files):
    rng = np.random.default_rng(common.SEED)
    pages = []
    for data in files:
        scan = common.read_png(data)[:, :, 0] / 255.0
        scan = np.clip(scan / np.percentile(scan, 95), 0, 1)
        for top in range(0, scan.shape[0] - SIZE + 1, SIZE):
            for left in range(0, scan.shape[1] - SIZE + 1, SIZE):
                pages.append(scan[top:top + SIZE, left:left + SIZE])
    y, x = np.indices((SIZE, SIZE))
    tables, sides = [], rng.permutation(len(pages)) % 2
    for number, (clean, side) in enumerate(zip(pages, sides)):
        tables.append(pd.DataFrame({
            "page": number, "row": y.ravel(), "col": x.ravel(),
            "dirty": soiled(clean, rng).ravel().round(3), "clean": clean.ravel().round(3),
            "_together": number, "part": "test" if side else "train"}))
    return pd.concat(tables)


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=21 * SIZE * SIZE, test_rows=21 * SIZE * SIZE, constant=0.8)
