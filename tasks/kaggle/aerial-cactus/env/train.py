import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")


def colours(path):
    images = np.load(path) / 255.0
    return np.hstack([images.mean(axis=(1, 2)), images.std(axis=(1, 2))])


x, y = colours("data/train_images.npy"), train["has_cactus"]
half = len(x) // 2
model = LogisticRegression().fit(x[:half], y[:half])
print("AUC:", roc_auc_score(y[half:], model.predict_proba(x[half:])[:, 1]))
test["has_cactus"] = model.predict_proba(colours("data/test_images.npy"))[:, 1]
test[["id", "has_cactus"]].to_csv("submission.csv", index=False)
