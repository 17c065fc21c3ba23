# which novel: word counts + naive bayes
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import log_loss
from sklearn.naive_bayes import MultinomialNB

N_WORDS = 100
VAL_SHARE = 0.2

df = pd.read_csv("data/train.csv")
df_test = pd.read_csv("data/test.csv")

counter = CountVectorizer(max_features=N_WORDS)
counts = counter.fit_transform(df["text"])
counts_test = counter.transform(df_test["text"])
print("matrix:", counts.shape)

# validation
rng = np.random.RandomState(3)
in_val = rng.rand(len(df)) < VAL_SHARE
nb = MultinomialNB(alpha=1.0)
nb.fit(counts[~in_val], df["novel"][~in_val])
p_val = nb.predict_proba(counts[in_val])
print("val loss:", round(log_loss(df["novel"][in_val], p_val, labels=nb.classes_), 4))

# final model on everything
nb.fit(counts, df["novel"])
p_test = nb.predict_proba(counts_test)
sub = pd.DataFrame({"id": df_test["id"]})
for k, novel in enumerate(nb.classes_):
    sub[novel] = p_test[:, k]
sub.to_csv("submission.csv", index=False)
