"""Writes tests/vectors/task_metric/metric.json: the values of our metrics by scikit-learn and scipy.

Run from the repository's root with a Python that has numpy, scipy and scikit-learn:
    python tools/vectors_metric.py > tests/vectors/task_metric/metric.json
Each case: metric, rows, width (the columns of guess), truth, guess (flat, row by row), value (null:
undefined). Two metrics scikit-learn does not have as the competitions define them: MAP@5 is written
out here, and quadratic weighted kappa is scikit-learn's over all ratings from the least to the
greatest, whether they occur or not.
"""
import json
import math
import sys
import warnings

import numpy as np
import scipy
import sklearn
from scipy.stats import pearsonr
from sklearn.metrics import (accuracy_score, cohen_kappa_score, log_loss, mean_absolute_error,
                             roc_auc_score, root_mean_squared_error, root_mean_squared_log_error)


def log_loss_of(truth, guess):
    if guess.ndim == 1:
        return log_loss(truth, guess, labels=[0, 1])
    shares = guess / guess.sum(axis=1, keepdims=True)
    return log_loss(truth, shares, labels=list(range(guess.shape[1])))


def map5(truth, guess):
    """Kaggle's: one right label, the place of its first occurrence among the guesses."""
    return np.mean([1 / (list(row).index(t) + 1) if t in row else 0
                    for t, row in zip(truth, guess)])


def qwk(truth, guess):
    least, greatest = min(truth.min(), guess.min()), max(truth.max(), guess.max())
    if least == greatest:
        return math.nan
    return cohen_kappa_score(truth.astype(int), guess.astype(int), weights="quadratic",
                             labels=np.arange(int(least), int(greatest) + 1))


def pearson(truth, guess):
    """Ours of a constant guess is 0 by decree."""
    return 0.0 if len(set(guess)) == 1 and len(set(truth)) > 1 else pearsonr(truth, guess).statistic


def by_column(metric):
    return lambda truth, guess: metric(truth, guess, multioutput="uniform_average")


METRICS = {
    "accuracy": accuracy_score,
    "auc": roc_auc_score,
    "mean_column_auc": lambda truth, guess: roc_auc_score(truth, guess, average="macro"),
    "log_loss": log_loss_of,
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "rmsle": root_mean_squared_log_error,
    "mcrmse": by_column(root_mean_squared_error),
    "map5": map5,
    "qwk": qwk,
    "pearson": pearson,
}


def case(name, metric, truth, guess):
    truth, guess = np.asarray(truth, dtype=float), np.asarray(guess, dtype=float)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(METRICS[metric](truth, guess))
    except ValueError:
        value = math.nan
    return {"name": name, "metric": metric, "rows": len(truth),
            "width": 1 if guess.ndim == 1 else guess.shape[1],
            "truth": truth.ravel().tolist(), "guess": guess.ravel().tolist(),
            "value": None if math.isnan(value) else value}


def labels(rng):
    return [
        case("single row right", "accuracy", [3], [3]),
        case("single row wrong", "accuracy", [3], [4]),
        case("thirds", "accuracy", [0, 1, 2], [0, 1, 1]),
        case("a label nobody has", "accuracy", [0, 1, 2], [-1, 1, -1]),
        case("constant guess", "accuracy", rng.integers(0, 4, 101), np.ones(101)),
        case("26 classes", "accuracy", rng.integers(0, 26, 500), rng.integers(0, 26, 500)),
        case("imbalanced", "accuracy", (rng.random(400) < 0.02), np.zeros(400)),
    ]


def areas(rng):
    cases = [
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
    ]
    for name, share, step in [("ties", 0.4, 0.1), ("ties and imbalance", 0.03, 0.05),
                              ("no ties", 0.5, 0), ("two levels", 0.3, 0.5)]:
        truth = (rng.random(500) < share).astype(int)
        guess = truth * 0.3 + rng.random(500)
        if step:
            guess = np.floor(guess / step) * step
        cases.append(case(name, "auc", truth, guess))
    many = rng.random((300, 7)) < [0.5, 0.3, 0.1, 0.05, 0.02, 0.8, 0.97]
    scores = many * 0.4 + rng.random((300, 7))
    cases += [
        case("two columns, one right and one inverted", "mean_column_auc",
             [[0, 1], [1, 0], [0, 0]], [[0.1, 0.2], [0.5, 0.9], [0.2, 0.3]]),
        case("constant guess", "mean_column_auc", many, np.full((300, 7), 0.3)),
        case("seven columns", "mean_column_auc", many, scores),
        case("seven columns with ties", "mean_column_auc", many, np.round(scores, 1)),
        case("a column with one class", "mean_column_auc", [[0, 1], [0, 0]], [[0, 1], [1, 0]]),
    ]
    return cases


def losses(rng):
    truth = (rng.random(300) < 0.2).astype(int)
    classes = rng.integers(0, 9, 300)
    raw = rng.random((300, 9)) + 2 * np.eye(9)[classes]
    shares = raw / raw.sum(axis=1, keepdims=True)
    sparse = np.where(rng.random((300, 9)) < 0.4, 0, raw)
    sparse[:, 0] += 1e-3
    return [
        case("single row", "log_loss", [1], [0.3]),
        case("half", "log_loss", [0, 1, 1], [0.5] * 3),
        case("certain and right", "log_loss", [0, 1, 1, 0], [0, 1, 1, 0]),
        case("certain and wrong", "log_loss", [0, 1, 1], [1, 0, 0]),
        case("beyond the clip", "log_loss", [1, 0, 1, 0],
             [1e-300, 1 - 1e-16, 1e-17, 1 - 2.0 ** -53]),
        case("at the clip", "log_loss", [1, 0, 1, 0],
             [2.0 ** -52, 1 - 2.0 ** -52, 2.0 ** -51, 1 - 2.0 ** -51]),
        case("only one class", "log_loss", [1, 1, 1], [0.9, 0.2, 0.6]),
        case("imbalanced", "log_loss", truth, np.clip(truth * 0.3 + rng.random(300) * 0.7, 0, 1)),
        case("three classes", "log_loss", [0, 1, 2], [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0, 0, 1]]),
        case("two classes as columns", "log_loss", [0, 1, 1], [[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]]),
        case("nine classes", "log_loss", classes, shares),
        case("rows that do not sum to 1", "log_loss", classes, raw * 17),
        case("zeros for the right class", "log_loss", classes, sparse),
        case("classes that do not occur", "log_loss", classes % 2 * 5, shares),
        case("only one class of four", "log_loss", [2, 2], [[0, 0, 1, 0], [0.25] * 4]),
        case("tiny rows", "log_loss", [0, 1], [[1e-300, 3e-300], [2e-310, 2e-310]]),
    ]


def errors(rng):
    prices = rng.lognormal(12, 0.5, 600).round(2), rng.lognormal(12, 0.5, 600)
    mixed = 10.0 ** rng.uniform(-8, 12, 300), 10.0 ** rng.uniform(-8, 12, 300)
    normal = rng.normal(0, 1, 77)
    cases = []
    for metric in ("mae", "rmse", "rmsle"):
        cases += [
            case("single row", metric, [2.5], [0.25]),
            case("exact", metric, [1, 2, 3], [1, 2, 3]),
            case("zeros", metric, [0, 0], [0, 0]),
            case("constant guess", metric, np.abs(normal), np.zeros(77)),
            case("prices", metric, *prices),
            case("mixed magnitudes", metric, *mixed),
            case("many small on one large", metric, [1e15] + [0.1] * 500, [0.0] * 501),
        ]
    return cases + [
        case("single negative row", "mae", [2.5], [-1.25]),
        case("signs", "rmse", normal, -normal),
        case("far from 0", "rmse", normal + 1e9, normal[::-1] + 1e9),
        case("below what 1 + x can tell", "rmsle", [1e-18, 3e-17, 0], [2e-18, 0, 1e-20]),
        case("single row of one column", "mcrmse", [[1.0]], [[3.0]]),
        case("two columns", "mcrmse", [[1, 10], [2, 20]], [[1, 13], [2, 16]]),
        case("one column exact", "mcrmse", [[1, 2], [3, 4]], [[1, 0], [3, 0]]),
        case("columns of other scales", "mcrmse", rng.normal(0, 1, (200, 3)) * [1e-6, 1, 1e6],
             rng.normal(0, 1, (200, 3)) * [1e-6, 1, 1e6]),
    ]


def rankings(rng):
    def guesses(rows, classes):
        return [rng.permutation(classes)[:5] for _ in range(rows)]

    return [
        case("first", "map5", [7], [[7, 1, 2, 3, 4]]),
        case("each place", "map5", [7] * 6, [[7, 1, 2, 3, 4], [1, 7, 2, 3, 4], [1, 2, 7, 3, 4],
                                            [1, 2, 3, 7, 4], [1, 2, 3, 4, 7], [1, 2, 3, 4, 5]]),
        case("fewer than five", "map5", [0, 1, 2], [[0, -1, -1, -1, -1], [3, 1, -1, -1, -1],
                                                    [4, -1, -1, -1, -1]]),
        case("unknown labels take places", "map5", [0, 1], [[-1, 0, -1, -1, -1],
                                                            [-1, -1, -1, -1, 1]]),
        case("nine classes", "map5", rng.integers(0, 9, 400), guesses(400, 9)),
        case("five of 116 classes", "map5", rng.integers(0, 116, 400), guesses(400, 116)),
        case("same guesses everywhere", "map5", rng.integers(0, 6, 200), [[0, 1, 2, 3, 4]] * 200),
    ]


def agreements(rng):
    truth = rng.integers(0, 6, 400)
    near = np.clip(truth + rng.integers(-1, 2, 400), 0, 5)
    gap = np.array([0, 5, 1, 0, 5, 1])
    value = rng.normal(0, 1, 300)
    return [
        case("exact", "qwk", [1, 2, 3, 4], [1, 2, 3, 4]),
        case("inverted", "qwk", [1, 2, 3, 4], [4, 3, 2, 1]),
        case("near", "qwk", truth, near),
        case("independent", "qwk", truth, rng.permutation(truth)),
        case("constant guess", "qwk", truth, np.full(400, 3)),
        case("constant guess beyond the ratings", "qwk", truth, np.full(400, 9)),
        case("constant answers", "qwk", [2, 2, 2], [2, 3, 2]),
        case("the same one rating", "qwk", [2, 2], [2, 2]),
        case("ratings that do not occur", "qwk", gap, gap[[0, 1, 2, 1, 4, 0]]),
        case("a rating only guessed", "qwk", [0, 1, 1, 0], [0, 1, 3, 0]),
        case("negative ratings", "qwk", truth - 3, near - 3),
        case("two rows", "qwk", [0, 1], [1, 0]),
        case("far from 0", "qwk", truth + 900000, near + 900000),
        case("exact", "pearson", [1, 2, 3], [2, 4, 6]),
        case("inverted", "pearson", [1, 2, 3], [6, 4, 2]),
        case("two rows", "pearson", [0, 1], [5, 7]),
        case("noise", "pearson", value, value + rng.normal(0, 1, 300)),
        case("none", "pearson", value, rng.normal(0, 1, 300)),
        case("ties", "pearson", np.round(value), np.round(value + rng.normal(0, 1, 300))),
        case("far from 0", "pearson", value + 1e6, value[::-1] + 1e6),
        case("other scales", "pearson", value * 1e-9, 1e9 * (value + rng.normal(0, 1, 300))),
        case("constant guess", "pearson", [1, 2, 3], [0.1, 0.1, 0.1]),
        case("constant answers", "pearson", [2, 2, 2], [1, 2, 3]),
    ]


def main():
    rng = np.random.default_rng(20240611)
    cases = [c for part in (labels, areas, losses, errors, rankings, agreements) for c in part(rng)]
    json.dump({"made_with": f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}, "
                            f"numpy {np.__version__}", "cases": cases}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
