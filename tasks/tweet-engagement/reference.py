# A good solution, whose score is m_best: boosting on the time, the program and topics of the text.
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict

train = pd.read_csv("data/train.csv", keep_default_na=False)
test = pd.read_csv("data/test.csv", keep_default_na=False)
both = pd.concat([train, test], ignore_index=True)
n, y = len(train), train["rating"]

when = pd.to_datetime(both["created_at"])
text = both["text"]
words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=3).fit_transform(text)
ridge = Ridge(alpha=2.0)
linear = np.concatenate([cross_val_predict(ridge, words[:n], y, cv=5),
                         ridge.fit(words[:n], y).predict(words[n:])])
X = np.column_stack([
    when.astype("int64") // 10**9, when.dt.hour, when.dt.dayofweek,
    both["source"].astype("category").cat.codes, text.str.len(), text.str.count("http"),
    text.str.count("@"), text.str.count("#"), text.str.count("!"), text.str.startswith('"'),
    text.str.startswith("@"), text.str.startswith('"@'), text.str.count("[A-Z]"), linear,
    TruncatedSVD(20, random_state=0).fit_transform(words)])
guesses = []
for seed in range(3):
    model = LGBMRegressor(n_estimators=350, learning_rate=0.03, num_leaves=16,
                          colsample_bytree=0.5, subsample=0.7, subsample_freq=1,
                          random_state=seed, n_jobs=1, verbose=-1)
    guesses.append(model.fit(X[:n], y).predict(X[n:]))
rating = np.clip(np.round(np.mean(guesses, axis=0)), 0, 5).astype(int)
pd.DataFrame({"id": test["id"], "rating": rating}).to_csv("submission.csv", index=False)
