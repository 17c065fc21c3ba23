# Clean up dirty pages: straight line from dirty to clean value.
import numpy as np
import pandas as pd

SIZE = 56

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")


def to_images(df, column):
    """dict: page number -> 2d array"""
    images = {}
    for page, part in df.groupby("page"):
        img = np.zeros((SIZE, SIZE))
        img[part["row"], part["col"]] = part[column]
        images[page] = img
    return images


def inputs(img):
    # one row of inputs for each pixel
    return np.stack([img], axis=-1).reshape(SIZE * SIZE, -1)


dirty = to_images(train, "dirty")
clean = to_images(train, "clean")
pages = sorted(dirty)


def fit(chosen):
    x = np.vstack([inputs(dirty[p]) for p in chosen])
    y = np.concatenate([clean[p].ravel() for p in chosen])
    a = np.hstack([x, np.ones((len(x), 1))])
    return np.linalg.lstsq(a, y, rcond=None)[0]


def apply(w, img):
    return (inputs(img) @ w[:-1] + w[-1]).reshape(SIZE, SIZE)


w = fit(pages[:-4])
errors = [np.mean((apply(w, dirty[p]) - clean[p]) ** 2) for p in pages[-4:]]
print("RMSE on the last 4 pages:", np.sqrt(np.mean(errors)))

w = fit(pages)
test["clean"] = 0.0
cleaned = {p: apply(w, img) for p, img in to_images(test, "dirty").items()}
test["clean"] = [cleaned[p][r, c] for p, r, c in zip(test["page"], test["row"], test["col"])]
test[["id", "clean"]].to_csv("submission.csv", index=False)
