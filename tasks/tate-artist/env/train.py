import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

train_df = pd.read_csv("data/train.csv")
test_df = pd.read_csv("data/test.csv")


def get_text(df):
    return df["title"]


def top5(model, features):
    """five most likely artists, best first, as one string"""
    proba = model.predict_proba(features)
    best = (-proba).argsort(axis=1, kind="stable")[:, :5]
    return [" ".join(model.classes_[row]) for row in best]


def map5(truth, strings):
    total = 0.0
    for t, s in zip(truth, strings):
        guesses = s.split()
        if t in guesses:
            total += 1 / (guesses.index(t) + 1)
    return total / len(truth)


vectorizer = CountVectorizer(max_features=300)
X_train = vectorizer.fit_transform(get_text(train_df))
X_test = vectorizer.transform(get_text(test_df))
y_train = train_df["artist"]

# quick check on every fifth row
val = train_df.index % 5 == 0
check = MultinomialNB().fit(X_train[~val], y_train[~val])
print("MAP@5 on every fifth row:", map5(y_train[val], top5(check, X_train[val])))

model = MultinomialNB()
model.fit(X_train, y_train)
test_df["artist"] = top5(model, X_test)
test_df[["id", "artist"]].to_csv("submission.csv", index=False)
