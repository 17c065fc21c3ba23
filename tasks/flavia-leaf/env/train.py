# leaf species from measurements
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedShuffleSplit

FEATURES = [
    "diameter",
    "area",
    "perimeter",
    "aspect_ratio",
    "rectangularity",
    "circularity",
    "compactness",
]


class LeafModel:
    def __init__(self, C=1.0):
        self.C = C

    def prepare(self, frame):
        # logs, so that big numbers do not dominate
        return np.log1p(frame[FEATURES].values)

    def fit(self, frame, species):
        self.clf = LogisticRegression(C=self.C, solver="newton-cg")
        self.clf.fit(self.prepare(frame), species)
        return self

    def predict(self, frame):
        return self.clf.predict_proba(self.prepare(frame))


train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")
splitter = StratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=0)
fit_rows, val_rows = next(splitter.split(train, train["species"]))
fit, val = train.iloc[fit_rows], train.iloc[val_rows]
model = LeafModel().fit(fit, fit["species"])
print("validation log loss: %.4f" % log_loss(val["species"], model.predict(val),
                                             labels=model.clf.classes_))

model = LeafModel().fit(train, train["species"])
result = pd.DataFrame(model.predict(test), columns=model.clf.classes_)
result.insert(0, "id", test["id"])
result.to_csv("submission.csv", index=False)
