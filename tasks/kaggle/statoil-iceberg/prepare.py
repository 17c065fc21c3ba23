"""Statoil's icebergs and ships: train.json, whose bands become one array."""

import json
import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

FIELDS = ["id", "band_1", "band_2", "inc_angle", "is_iceberg"]


def build(source):
    try:
        table = pd.DataFrame(json.loads(source.read("train.json")))
    except ValueError as error:
        raise common.PrepareError(f"train.json is not JSON: {error}") from None
    lacking = [field for field in FIELDS if field not in table]
    if lacking:
        raise common.PrepareError(f"train.json of {source.path} has no {', no '.join(lacking)}: "
                                  "is it another competition's?")
    try:
        bands = [np.stack([np.array(band, np.float32).reshape(75, 75) for band in table[name]])
                 for name in ("band_1", "band_2")]
    except (TypeError, ValueError):
        raise common.PrepareError("a band of train.json is not 75 x 75 numbers") from None
    angle = pd.to_numeric(table["inc_angle"], errors="coerce")      # "na" where it is not known
    return (table[["is_iceberg"]].assign(inc_angle=angle)[["inc_angle", "is_iceberg"]],
            {"bands": np.stack(bands, axis=-1)})


if __name__ == "__main__":
    common.run(__file__, build, constant=0.5)
