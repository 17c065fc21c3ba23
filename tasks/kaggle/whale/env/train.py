"""Whales: the names of the five most similar flukes, small and grey."""
import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors


def load(name):
    images = np.load(f"data/{name}_images.npy").mean(axis=3)
    return images.reshape(len(images), 12, 8, 12, 8).mean(axis=(2, 4)).reshape(len(images), -1)


names = pd.read_csv("data/train.csv")["Id"].to_numpy()
test = pd.read_csv("data/test.csv")
search = NearestNeighbors(n_neighbors=20).fit(load("train"))
_, near = search.kneighbors(load("test"))
guesses = []
for row in near:
    distinct = list(dict.fromkeys(["new_whale", *names[row]]))
    guesses.append(" ".join(distinct[:5]))
test["Id"] = guesses
test[["id", "Id"]].to_csv("submission.csv", index=False)
