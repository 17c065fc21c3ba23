"""How positive and how subjective senses of English words are, from textblob's lexicon.

All senses of one word are kept on one side.
"""

import pathlib
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

TARGETS = ["polarity", "subjectivity"]
TRAIN_ROWS, TEST_ROWS = 1930, 820


def sides(words):
    """train for words drawn until seven rows of ten have a place, test for the others."""
    sizes = words.value_counts().sort_index().sample(frac=1, random_state=common.SEED)
    train = sizes.index[sizes.cumsum() <= (len(words) * 7) // 10]
    return np.where(words.isin(train), "train", "test")


def build(files):
    words = ElementTree.fromstring(files[0]).findall("word")
    table = pd.DataFrame([[w.get("form"), w.get("pos"), w.get("sense", "").strip(),
                           float(w.get("polarity")), float(w.get("subjectivity"))] for w in words],
                         columns=["word", "pos", "sense", *TARGETS])
    # Some senses are rated twice.
    table = table.groupby(["word", "pos", "sense"], as_index=False)[TARGETS].mean().round(4)
    return table.assign(part=sides(table["word"]))


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=TRAIN_ROWS, test_rows=TEST_ROWS, constant=0)
