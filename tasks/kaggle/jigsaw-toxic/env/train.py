# Toxic comments: one logistic regression for each label, on common words.
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")

vectorizer = TfidfVectorizer(max_features=500, sublinear_tf=True)
x = vectorizer.fit_transform(train["comment_text"])
x_test = vectorizer.transform(test["comment_text"])
n_fit = len(train) * 9 // 10

submission = test[["id"]].copy()
for label in LABELS:
    model = LogisticRegression(C=0.1, solver="liblinear")
    model.fit(x[:n_fit], train[label][:n_fit])
    checked = train[label][n_fit:]
    if checked.nunique() == 2:
        auc = roc_auc_score(checked, model.predict_proba(x[n_fit:])[:, 1])
        print(f"{label}: validation AUC {auc:.4f}")
    submission[label] = model.predict_proba(x_test)[:, 1]

submission.to_csv("submission.csv", index=False)
