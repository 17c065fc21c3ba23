# Clean pages: a straight line from the dirty pixel to the clean one.
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

images = np.load("data/images.npz")
train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")


def pixels(table):
    out = np.empty((len(table), 1))
    for page, rows in table.groupby("page").indices.items():
        part = table.iloc[rows]
        out[rows, 0] = images[str(page)][part["row"], part["column"]]
    return out


x, y = pixels(train), train["value"]
model = LinearRegression().fit(x, y)
print("training RMSE:", np.sqrt(np.mean((model.predict(x) - y) ** 2)))
test["value"] = np.clip(model.predict(pixels(test)), 0, 1)
test[["id", "value"]].to_csv("submission.csv", index=False)
