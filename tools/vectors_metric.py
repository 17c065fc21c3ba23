"""Writes tests/vectors/task_metric/metric.json: scikit-learn's values of our metrics.

Run from the repository's root with a Python that has numpy and scikit-learn:
    python tools/vectors_metric.py > tests/vectors/task_metric/metric.json
Each case: metric, truth, guess, value (null: undefined, which scikit-learn says with NaN).
"""
import json
import math
import sys
import warnings

import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score

METRICS = {"accuracy": accuracy_score, "auc": roc_auc_score, "mae": mean_absolute_error}


def case(name, metric, truth, guess):
    truth, guess = np.asarray(truth, dtype=float), np.asarray(guess, dtype=float)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(METRICS[metric](truth, guess))
    except ValueError:
        value = math.nan
    return {"name": name, "metric": metric, "truth": truth.tolist(), "guess": guess.tolist(),
            "value": None if math.isnan(value) else value}


def main():
    rng = np.random.default_rng(20240611)
    cases = [
        case("single row right", "accuracy", [3], [3]),
        case("single row wrong", "accuracy", [3], [4]),
        case("thirds", "accuracy", [0, 1, 2], [0, 1, 1]),
        case("constant guess", "accuracy", rng.integers(0, 4, 101), np.ones(101)),
        case("26 classes", "accuracy", rng.integers(0, 26, 500), rng.integers(0, 26, 500)),
        case("imbalanced", "accuracy", (rng.random(400) < 0.02), np.zeros(400)),
        case("perfect", "auc", [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]),
        case("inverted", "auc", [1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]),
        case("constant guess", "auc", [0, 1, 1, 0, 1], [0.5] * 5),
        case("one tie across classes", "auc", [0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]),
        case("only positives", "auc", [1, 1, 1], [0.1, 0.2, 0.3]),
        case("only negatives", "auc", [0, 0], [0.1, 0.2]),
        case("single row", "auc", [1], [0.7]),
        case("two rows", "auc", [1, 0], [-3, 7]),
        case("zeros of both signs tie", "auc", [1, 0, 1, 0], [0.0, -0.0, 0.0, 1.0]),
        case("huge and tiny scores", "auc", [0, 1, 0, 1, 1], [-1e300, 1e-300, 0, 1e300, -5e-324]),
        case("single row", "mae", [2.5], [-1.25]),
        case("exact", "mae", [1, 2, 3], [1, 2, 3]),
        case("constant guess", "mae", rng.normal(0, 1, 77), np.zeros(77)),
        case("prices", "mae", rng.lognormal(12, 0.5, 600).round(2), rng.lognormal(12, 0.5, 600)),
        case("mixed magnitudes", "mae", 10.0 ** rng.uniform(-8, 12, 300),
             10.0 ** rng.uniform(-8, 12, 300)),
        case("many small on one large", "mae", [1e15] + [0.1] * 500, [0.0] * 501),
    ]
    for name, share, step in [("ties", 0.4, 0.1), ("ties and imbalance", 0.03, 0.05),
                              ("no ties", 0.5, 0), ("two levels", 0.3, 0.5)]:
        truth = (rng.random(500) < share).astype(int)
        guess = truth * 0.3 + rng.random(500)
        if step:
            guess = np.floor(guess / step) * step
        cases.append(case(name, "auc", truth, guess))
    json.dump({"made_with": f"scikit-learn {sklearn.__version__}, numpy {np.__version__}",
               "cases": cases}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
