# Subjects of papers from their word vectors; the graph is not used.
import numpy as np
import pandas as pd
from sklearn.linear_model import SGDClassifier

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")
features = np.load("data/features.npy")
late = train["year"] >= train["year"].quantile(0.9)

model = SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=0)
model.fit(features[train["node"][~late]], train["label"][~late])
print("accuracy on the latest papers:",
      model.score(features[train["node"][late]], train["label"][late]))
test["label"] = model.predict(features[test["node"]])
test[["id", "label"]].to_csv("submission.csv", index=False)
