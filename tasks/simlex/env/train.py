# How alike are two words? First try: compare their letters.
import pandas as pd
from difflib import SequenceMatcher
from sklearn.linear_model import LinearRegression

train = pd.read_csv("data/train.csv", keep_default_na=False)
test = pd.read_csv("data/test.csv", keep_default_na=False)
thesaurus = pd.read_csv("data/thesaurus.csv", keep_default_na=False)

# word -> list of meanings, each a set of words
meanings = {}
for word, members in zip(thesaurus["word"], thesaurus["members"]):
    meanings.setdefault(word, []).append(set(members.split(", ")))


def features(pairs):
    rows = []
    for a, b in zip(pairs["word1"], pairs["word2"]):
        letters = SequenceMatcher(None, a, b).ratio()
        length = abs(len(a) - len(b))
        known = len(meanings.get(a, [])) + len(meanings.get(b, []))
        rows.append([letters, length, known])
    return pd.DataFrame(rows, columns=["letters", "length", "known"])


x, x_test = features(train), features(test)
y = train["similarity"]

n_fit = int(0.75 * len(train))
model = LinearRegression()
model.fit(x[:n_fit], y[:n_fit])
guess = pd.Series(model.predict(x[n_fit:]), index=y.index[n_fit:])
print("correlation on the rest:", guess.corr(y[n_fit:]))

model.fit(x, y)
test["similarity"] = model.predict(x_test)
test[["id", "similarity"]].to_csv("submission.csv", index=False)
