"""A piece of WordNet's noun graph: what field is a node of, by its gloss and its links?"""

import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

FIELDS = ["tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication",
          "event", "feeling", "food", "group", "location", "motive", "object", "person",
          "phenomenon", "plant", "possession", "process", "quantity", "relation", "shape", "state",
          "substance", "time"]
FIRST_FIELD = 3
# Each link is in the file at both of its ends; one of the two is kept.
RELATIONS = {"@": "is_a", "@i": "instance_of", "#m": "member_of", "#s": "substance_of",
             "#p": "part_of", ";c": "topic", ";r": "region", ";u": "usage", "!": "opposite"}
NODES, SEEDS, RARE = 6000, 500, 20


def read(text):
    """A table of nodes by their place in the file, and their links to each other."""
    nodes, links = {}, []
    for line in text.splitlines():
        if line.startswith(" "):
            continue
        head, gloss = line.split(" | ", 1)
        part = head.split()
        after = 4 + 2 * int(part[3], 16)
        words = ", ".join(word.replace("_", " ") for word in part[4:after:2])
        nodes[part[0]] = (part[0], words, gloss.strip(), FIELDS[int(part[1]) - FIRST_FIELD])
        for i in range(after + 1, after + 1 + 4 * int(part[after]), 4):
            kind, other, speech, _ = part[i:i + 4]
            if speech == "n" and kind in RELATIONS:
                links.append((part[0], other, RELATIONS[kind]))
    table = pd.DataFrame(nodes.values(), index=list(nodes),
                         columns=["_node", "words", "gloss", "field"])
    return table, pd.DataFrame(links, columns=["source", "target", "relation"])


def sample(table, links):
    """Nodes around random seeds, one ring after the other until there are enough."""
    rng = np.random.default_rng(common.SEED)
    pairs = pd.concat([links, links.rename(columns={"source": "target", "target": "source"})])
    near = pairs.groupby("source")["target"].apply(list).to_dict()
    ring = list(rng.choice(table.index.to_numpy(), SEEDS, replace=False))
    taken = dict.fromkeys(ring)
    while len(taken) < NODES:
        ring = [other for node in ring for other in near.get(node, []) if other not in taken]
        ring = list(rng.permutation(list(dict.fromkeys(ring))))[:NODES - len(taken)]
        taken.update(dict.fromkeys(ring))
    return table.loc[list(taken)]


def build(files):
    global LINKS
    table, LINKS = read(files[0].decode())
    table = sample(table, LINKS)
    count = table.groupby("field")["field"].transform("size")
    return table[count >= RARE]


def write_links(public, train, test):
    ids = pd.concat([train, test]).set_index("_node")["id"]
    out = LINKS[LINKS["source"].isin(ids.index) & LINKS["target"].isin(ids.index)].drop_duplicates()
    out = out.assign(source=out["source"].map(ids), target=out["target"].map(ids))
    out.sort_values(["source", "target", "relation"]).to_csv(public / "edges.csv", index=False)


if __name__ == "__main__":
    common.run(pathlib.Path(__file__).resolve().parent, build,
               train_rows=2400, test_rows=3500, constant="artifact", also=write_links)
