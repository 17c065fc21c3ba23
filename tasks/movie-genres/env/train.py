"""Film genres from the words of the title, one model a genre."""
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

GENRES = ["Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short"]


def read_data():
    train = pd.read_csv("data/train.csv")
    test = pd.read_csv("data/test.csv")
    return train, test


def make_inputs(train, test):
    vec = CountVectorizer(binary=True, max_features=100, stop_words="english")
    return vec.fit_transform(train["title"]), vec.transform(test["title"])


def new_classifier():
    return LogisticRegression(C=1.0)


def main():
    train, test = read_data()
    x, x_test = make_inputs(train, test)
    half = len(train) // 2
    submission = test[["id"]].copy()
    for genre in GENRES:
        y = train[genre]
        clf = new_classifier().fit(x[:half], y[:half])
        auc = roc_auc_score(y[half:], clf.predict_proba(x[half:])[:, 1])
        print(f"AUC of {genre}: {auc:.3f}")
        clf = new_classifier().fit(x, y)
        submission[genre] = clf.predict_proba(x_test)[:, 1]
    submission.to_csv("submission.csv", index=False)


main()
