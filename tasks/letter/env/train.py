import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

df = pd.read_csv("data/train.csv")
df_test = pd.read_csv("data/test.csv")
print("rows to learn from:", len(df))
print("rows to predict:", len(df_test))

feature_cols = [c for c in df.columns if c not in ("id", "letter")]
data = df[feature_cols].values / 15
labels = df["letter"].values
data_test = df_test[feature_cols].values / 15

# keep the last 1000 rows for a check
n_train = len(data) - 1000
clf = LogisticRegression(C=0.1, max_iter=500)
clf.fit(data[:n_train], labels[:n_train])
val_acc = np.mean(clf.predict(data[n_train:]) == labels[n_train:])
print(f"val accuracy = {val_acc:.4f}")

out = pd.DataFrame()
out["id"] = df_test["id"]
out["letter"] = clf.predict(data_test)
out.to_csv("submission.csv", index=False)
