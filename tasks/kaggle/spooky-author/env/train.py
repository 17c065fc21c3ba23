"""Poe, Lovecraft or Shelley: word counts and naive Bayes."""
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline

AUTHORS = ["EAP", "HPL", "MWS"]

train_df = pd.read_csv("data/train.csv")
test_df = pd.read_csv("data/test.csv")

pipe = Pipeline([
    ("count", CountVectorizer(stop_words="english", max_features=3000)),
    ("bayes", MultinomialNB(alpha=0.1)),
])
proba = cross_val_predict(pipe, train_df["text"], train_df["author"], cv=3,
                          method="predict_proba")
print("cross-validated log loss:", log_loss(train_df["author"], proba, labels=AUTHORS))

pipe.fit(train_df["text"], train_df["author"])
sub = pd.DataFrame(pipe.predict_proba(test_df["text"]), columns=pipe.classes_)
sub.insert(0, "id", test_df["id"])
sub.to_csv("submission.csv", index=False)
