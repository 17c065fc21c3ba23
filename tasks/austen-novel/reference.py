# A good solution, whose score is m_best: logistic regression on words and letters, and NB on words.
import numpy as np
import pandas as pd
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

train, test = pd.read_csv("data/train.csv"), pd.read_csv("data/test.csv")
n, y = len(train), train["novel"]
text = pd.concat([train["text"], test["text"]])
words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit_transform(text)
letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 3), min_df=5,
                          max_features=12000).fit_transform(text)
X = hstack([words, letters]).tocsr()
linear = LogisticRegression(C=8, max_iter=40, tol=1e-3).fit(X[:n], y)
counts = CountVectorizer(min_df=2, binary=True).fit_transform(text)
bayes = MultinomialNB(alpha=0.3).fit(counts[:n], y)
share = 0.7 * linear.predict_log_proba(X[n:]) + 0.15 * bayes.predict_log_proba(counts[n:])
share = np.exp(share - share.max(axis=1, keepdims=True))
share /= share.sum(axis=1, keepdims=True)
pd.DataFrame(share, columns=linear.classes_).assign(id=test["id"]).to_csv(
    "submission.csv", index=False)
