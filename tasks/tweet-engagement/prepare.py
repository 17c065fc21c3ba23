"""Tweets of one account from R's dslabs, rated 0 to 5 by how often they were liked. Left out:
retweet_count, which is all but the answer, and time and program, beside which text would not count."""

import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common


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
    return table.drop(columns="likes")


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=3000, test_rows=3000, constant=2)
