"""Draws from every kind of generator before and after src/cli/tasks_noise.py has moved the seeds; each
must differ, and the same move must give the same again. Prints what does not."""
import os
import pickle
import random
import sys
import warnings

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from numpy.random import RandomState as ByName
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

BIG = 2**31 - 1
X = np.arange(200.0).reshape(50, 4) % 7
y = np.arange(50) * 7 % 3 > 0


def seeded(generator, seed):
    generator.seed(seed)
    return generator


def fitted(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y).predict_proba(X)[:, 1].tolist()


DRAWS = {
    "RandomState": lambda: np.random.RandomState(3).randint(BIG),
    "RandomState(seed=)": lambda: np.random.RandomState(seed=3).randint(BIG),
    "RandomState().seed": lambda: seeded(np.random.RandomState(), 3).randint(BIG),
    "imported by name": lambda: ByName(3).randint(BIG),
    "default_rng": lambda: np.random.default_rng(3).integers(BIG),
    "default_rng(list)": lambda: np.random.default_rng(seed=[1, 2]).integers(BIG),
    "PCG64": lambda: np.random.Generator(np.random.PCG64(3)).integers(BIG),
    "SeedSequence": lambda: np.random.default_rng(np.random.SeedSequence(3)).integers(BIG),
    "numpy.random.seed": lambda: seeded(np.random, 3) and np.random.randint(BIG),
    "random.seed": lambda: seeded(random, 3) and random.randrange(BIG),
    "random.seed(text)": lambda: seeded(random, "three") and random.randrange(BIG),
    "Random": lambda: random.Random(3).randrange(BIG),
    "Random().seed": lambda: seeded(random.Random(), 3).randrange(BIG),
    "a loop": lambda: [random.Random(seed).randrange(BIG) for seed in range(3)],
    "pickled": lambda: pickle.loads(pickle.dumps(np.random.RandomState(3))).randint(BIG),
    "check_random_state": lambda: check_random_state(check_random_state(3)).randint(BIG),
    "the global one": lambda: seeded(np.random, 3) and check_random_state(
        check_random_state(None)).randint(BIG),
    "a split": lambda: train_test_split(range(99), random_state=0)[1],
    "pandas": lambda: pd.Series(range(9999)).sample(5, random_state=0).tolist(),
    "a forest": lambda: fitted(RandomForestClassifier(5, random_state=0)),
}


def add_boosting():
    try:
        from lightgbm import LGBMClassifier
        from xgboost import XGBClassifier
    except ImportError:
        return
    light = dict(n_estimators=5, verbose=-1, subsample=0.5, subsample_freq=1, min_child_samples=2)
    extreme = dict(n_estimators=5, subsample=0.5)
    for name, kind, how in (("lightgbm", LGBMClassifier, light), ("xgboost", XGBClassifier, extreme)):
        DRAWS[name] = lambda kind=kind, how=how: fitted(kind(**how))
        DRAWS[f"{name}, seed"] = lambda kind=kind, how=how: fitted(kind(random_state=5, **how))


def main():
    with open("src/cli/tasks_noise.py", encoding="utf-8") as file:
        text = file.read()
    add_boosting()
    before = {name: draw() for name, draw in DRAWS.items()}
    exec(text, globals())
    _move_seeds(1000)  # noqa: F821
    after, again = ({name: draw() for name, draw in DRAWS.items()} for _ in range(2))
    for name in DRAWS:
        if before[name] == after[name]:
            print(f"{name}: is not moved")
        if after[name] != again[name]:
            print(f"{name}: not the same again")
    print(f"{len(DRAWS)} kinds")


if __name__ == "__main__":
    sys.exit(main())
