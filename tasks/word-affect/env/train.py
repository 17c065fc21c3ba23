import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

TARGETS = ["polarity", "subjectivity"]
CONFIG = {
    "vocabulary": 30,
    "alpha": 10.0,
    "folds": 3,
}


def load(name):
    return pd.read_csv(f"data/{name}.csv", keep_default_na=False)


def get_text(rows):
    text = rows["sense"]
    return text


def make_model():
    return make_pipeline(
        CountVectorizer(max_features=CONFIG["vocabulary"], binary=True),
        Ridge(alpha=CONFIG["alpha"]),
    )


def score(truth, guess):
    return np.sqrt(np.mean((truth - guess) ** 2, axis=0)).mean()


if __name__ == "__main__":
    rows, rows_test = load("train"), load("test")
    ratings = rows[TARGETS].to_numpy()
    submission = rows_test[["id"]].copy()

    cv = cross_val_predict(make_model(), get_text(rows), ratings, cv=CONFIG["folds"])
    print("cross-validated MCRMSE:", score(ratings, cv))

    model = make_model()
    model.fit(get_text(rows), ratings)
    submission[TARGETS] = model.predict(get_text(rows_test))
    submission.to_csv("submission.csv", index=False)
