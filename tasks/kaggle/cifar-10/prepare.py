"""CIFAR-10 for Python: five training batches and the test batch, pickles of arrays."""

import io
import pathlib
import pickle
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


class Arrays(pickle.Unpickler):
    """Reads arrays and plain values only: a pickle may else run anything."""

    def find_class(self, module, name):
        if module.startswith("numpy") and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def batch(source, name):
    try:
        found = Arrays(io.BytesIO(source.read(name)), encoding="bytes").load()
        pixels, labels = found[b"data"], found[b"labels"]
        return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError,
            ValueError) as error:
        raise common.PrepareError(f"{name} is no batch of CIFAR-10 for Python: {error}") from None


def names(source):
    try:
        return [label.decode() for label in Arrays(
            io.BytesIO(source.read("batches.meta")), encoding="bytes").load()[b"label_names"]]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise common.PrepareError(f"batches.meta is not CIFAR-10's: {error}") from None


def build(source):
    source.need(*BATCHES, "batches.meta")
    called, parts = names(source), [batch(source, name) for name in BATCHES]
    table = pd.concat([pd.DataFrame({"label": [called[i] for i in labels],
                                     "_test": name == "test_batch"})
                       for name, (_, labels) in zip(BATCHES, parts)], ignore_index=True)
    return table, {"images": np.concatenate([pixels for pixels, _ in parts])}


if __name__ == "__main__":
    common.run(__file__, build, constant="cat")
