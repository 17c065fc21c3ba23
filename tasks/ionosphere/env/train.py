"""Radar returns, good or bad: logistic regression on the first pulses."""
import csv

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss


def load(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def to_matrix(rows, names):
    return np.array([[float(row[name]) for name in names] for row in rows])


names = ["V3", "V4", "V5", "V6"]
train_rows = load("data/train.csv")
test_rows = load("data/test.csv")
X = to_matrix(train_rows, names)
y = np.array([int(row["good"]) for row in train_rows])

cut = len(y) * 3 // 4
check = LogisticRegression(C=0.1).fit(X[:cut], y[:cut])
print("log loss on the last quarter:", log_loss(y[cut:], check.predict_proba(X[cut:])[:, 1]))

clf = LogisticRegression(C=0.1)
clf.fit(X, y)
prob = clf.predict_proba(to_matrix(test_rows, names))[:, 1]
with open("submission.csv", "w", newline="") as f:
    out = csv.writer(f)
    out.writerow(["id", "good"])
    for row, p in zip(test_rows, prob):
        out.writerow([row["id"], p])
