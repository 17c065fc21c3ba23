# A good solution, whose score is m_best: overlaps of the words' meanings in the thesaurus, boosted.
import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer

train = pd.read_csv("data/train.csv", keep_default_na=False)
test = pd.read_csv("data/test.csv", keep_default_na=False)
thesaurus = pd.read_csv("data/thesaurus.csv", keep_default_na=False)
own = thesaurus.groupby("word")
senses = {word: [set(m.split(", ")) for m in rows["members"]] for word, rows in own}
numbers = {word: np.array(rows["meaning"]) for word, rows in own}
vocabulary = sorted(senses)
place = {word: i for i, word in enumerate(vocabulary)}
bags = TfidfVectorizer(analyzer=list, sublinear_tf=True).fit_transform(
    [[w for sense in senses[word] for w in sense] for word in vocabulary])
dense = TruncatedSVD(60, random_state=0).fit_transform(bags)
dense /= np.linalg.norm(dense, axis=1, keepdims=True) + 1e-9
bags = bags.toarray()


def features(a, b):
    if a not in senses or b not in senses:
        return [np.nan] * 12
    A, B = senses[a], senses[b]
    i, j = place[a], place[b]
    best = [len(s & t) / np.sqrt(len(s) * len(t)) for s in A for t in B]
    shared = len(set(numbers[a]) & set(numbers[b]))
    gap = np.abs(numbers[a][:, None] - numbers[b][None, :])
    in_a, in_b = sum(b in s for s in A), sum(a in s for s in B)
    return [max(best), np.mean(best), bags[i] @ bags[j], dense[i] @ dense[j], shared,
            shared / np.sqrt(len(A) * len(B)), in_a / len(A), in_b / len(B), np.log1p(gap.min()),
            np.log1p(gap).mean(), min(len(A), len(B)), max(len(A), len(B))]


def table(pairs):
    one = np.array([features(a, b) for a, b in zip(pairs["word1"], pairs["word2"])], float)
    return np.nan_to_num(one, nan=-1.0)


X, y, X_test = table(train), train["similarity"], table(test)
guesses = [m.fit(X, y).predict(X_test) for seed in range(3) for m in (
    GradientBoostingRegressor(n_estimators=120, learning_rate=0.05, max_depth=3, subsample=0.5,
                              min_samples_leaf=8, random_state=seed),
    ExtraTreesRegressor(n_estimators=150, min_samples_leaf=4, random_state=seed))]
pd.DataFrame({"id": test["id"], "similarity": np.mean(guesses, axis=0)}).to_csv(
    "submission.csv", index=False)
