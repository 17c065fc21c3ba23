"""Polar surface of molecules from their SMILES strings."""
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression


def rmsle(truth: np.ndarray, guess: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.log1p(truth) - np.log1p(guess)) ** 2)))


def describe(smiles: str) -> list[float]:
    length = len(smiles)
    rings = sum(c.isdigit() for c in smiles) / 2
    return [length, rings]


def to_matrix(column: pd.Series) -> np.ndarray:
    return np.array([describe(s) for s in column], dtype=float)


def fit_and_predict(x: np.ndarray, y: np.ndarray, x_new: np.ndarray) -> np.ndarray:
    model = LinearRegression().fit(x, y)
    return np.clip(model.predict(x_new), 0, None)


def validate(x: np.ndarray, y: np.ndarray) -> float:
    cut = int(0.8 * len(y))
    return rmsle(y[cut:], fit_and_predict(x[:cut], y[:cut], x[cut:]))


train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")
x_train, y_train = to_matrix(train["smiles"]), train["tpsa"].to_numpy()

print("validation RMSLE", round(validate(x_train, y_train), 4))
test["tpsa"] = fit_and_predict(x_train, y_train, to_matrix(test["smiles"]))
test[["id", "tpsa"]].to_csv("submission.csv", index=False)
