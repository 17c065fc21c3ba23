"""Tweets of one account from R's dslabs, rated 0 to 5 by how often they were liked. Left out:
retweet_count, which is all but the answer, and time and program, beside which text would not count."""

import pathlib
import sys

import numpy as np
import pandas as pd
from scipy.sparse import vstack
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


ALIKE = 0.7  # cosine of the words, links left out
BLOCK = 500


def groups_of(text):
    """A number for each text; those that are all but the same share it, also over others."""
    plain = text.str.lower().str.replace(r"https?://\S+", "", regex=True)
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[\w@#']+").fit_transform(plain)
    alike = [words[at:at + BLOCK] @ words.T > ALIKE for at in range(0, len(text), BLOCK)]
    return connected_components(vstack(alike), directed=False)[1]


def build(files):
    table = common.read_rdb(files[0], files[1], "trump_tweets")
    when = pd.to_datetime(table["created_at"], unit="s")
    own = (when >= "2013-01-01") & ~table["is_retweet"].astype(bool)
    table = pd.DataFrame({
        "text": table["text"].astype(str).str.replace(r"\s+", " ", regex=True).str.strip(),
        "likes": table["favorite_count"].astype(int),
    })[own]
    table = table.drop_duplicates(subset="text")
    table["rating"] = pd.qcut(table["likes"], 6, labels=False)
    table["_together"] = groups_of(table["text"])
    order = np.random.default_rng(common.SEED).permutation(table["_together"].max() + 1)
    table["part"] = np.where(order[table["_together"]] % 2, "test", "train")
    return table.drop(columns="likes")


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=3000, test_rows=3000, constant=2)
