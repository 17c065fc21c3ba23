"""Paragraphs of Jane Austen's six novels from R's janeaustenr: which novel? Capitalised names are
masked, and what lies together in a book is on one side of the split."""

import re
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

BOOKS = {"emma": "emma", "mansfield_park": "mansfieldpark", "northanger_abbey": "northangerabbey",
         "persuasion": "persuasion", "pride_prejudice": "prideprejudice",
         "sense_sensibility": "sensesensibility"}
LEAST_CHARACTERS, BLOCK = 120, 20
NAME = re.compile(r"(?<=[a-z,;] )(?!I\b)[A-Z][\w']*")


def paragraphs(lines):
    """The book's paragraphs in order; chapter headings are too short to count."""
    text = "\n".join("" if line != line else str(line) for line in lines)
    parts = (re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if len(part) >= LEAST_CHARACTERS]


def build(files):
    tables, names = [], set()
    for novel, variable in BOOKS.items():
        found = paragraphs(common.read_rdb(files[0], files[1], variable))
        # Blocks of paragraphs go to either side by turns.
        sides = [("train", "test")[i // BLOCK % 2] for i in range(len(found))]
        tables.append(pd.DataFrame({"text": found, "novel": novel, "part": sides}))
        names.update(name for text in found for name in NAME.findall(text))
    mask = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
                      + r")\b")
    table = pd.concat(tables)
    return table.assign(text=[mask.sub("Name", text) for text in table["text"]])


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=2400, test_rows=2400, constant=round(1 / 6, 6))
