"""Pairs of words and how alike people find them (SimLex-999), with what the Aiksaurus thesaurus
says of each word."""

import struct
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

THESAURUS = {}


def words_of(data):
    """Aiksaurus's words.dat: each word, a zero byte, its meanings as 16-bit numbers, 0xffff."""
    words, at = [], 0
    while at < len(data):
        end = data.index(b"\0", at)
        words.append((data[at:end].decode("latin-1").replace(":", " "), []))
        at = end + 1
        while (number := struct.unpack(">H", data[at:at + 2])[0]) != 0xffff:
            words[-1][1].append(number)
            at += 2
        at += 2
    return words


def meanings_of(data):
    """Aiksaurus's meanings.dat: the words of each meaning as 16-bit numbers, 0xffff."""
    lists = [[]]
    for (number,) in struct.iter_unpack(">H", data):
        if number == 0xffff:
            lists.append([])
        else:
            lists[-1].append(number)
    return lists


def build(files):
    THESAURUS.update(words=words_of(files[1]), meanings=meanings_of(files[2]))
    lines = files[0].decode().splitlines()
    table = pd.DataFrame([line.split("\t") for line in lines if not line.startswith("#")],
                         columns=["word1", "word2", "similarity"])
    # One pair is there a second time, the other way round.
    pair = ["|".join(sorted(words)) for words in zip(table["word1"], table["word2"])]
    return table[~pd.Series(pair).duplicated()].astype({"similarity": float})


def write_thesaurus(public, train, test):
    """thesaurus.csv: for each word of the pairs, the other words of each of its meanings."""
    wanted = {word for rows in (train, test) for pair in ("word1", "word2") for word in rows[pair]}
    # The first two words of a meaning are its heading and come again.
    words, meanings = THESAURUS["words"], THESAURUS["meanings"]
    rows = [(word, meaning, ", ".join(dict.fromkeys(words[i][0] for i in meanings[meaning][2:])))
            for word, own in words if word in wanted for meaning in own]
    table = pd.DataFrame(rows, columns=["word", "meaning", "members"])
    table.sort_values(["word", "meaning"]).to_csv(public / "thesaurus.csv", index=False)


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=499, test_rows=499, constant=5, also=write_thesaurus)
