from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import Pipeline
import pandas as pd


def build_model():
    return Pipeline([
        ("words", CountVectorizer(max_features=50)),
        ("bayes", BernoulliNB()),
    ])


def validate(reviews, great):
    n = int(len(reviews) * 0.8)
    model = build_model()
    model.fit(reviews[:n], great[:n])
    p = model.predict_proba(reviews[n:])[:, 1]
    print("AUC:", roc_auc_score(great[n:], p))


if __name__ == "__main__":
    train_data = pd.read_csv("data/train.csv")
    test_data = pd.read_csv("data/test.csv")
    validate(train_data["review"], train_data["great"])

    model = build_model()
    model.fit(train_data["review"], train_data["great"])
    test_data["great"] = model.predict_proba(test_data["review"])[:, 1]
    test_data[["id", "great"]].to_csv("submission.csv", index=False)
