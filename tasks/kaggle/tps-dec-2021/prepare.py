"""Tabular Playground Series, December 2021: train.csv, of which 100,000 rows are kept."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

COLUMNS = ["Id", "Elevation", "Aspect", "Slope", "Horizontal_Distance_To_Hydrology",
           "Vertical_Distance_To_Hydrology", "Horizontal_Distance_To_Roadways", "Hillshade_9am",
           "Hillshade_Noon", "Hillshade_3pm", "Horizontal_Distance_To_Fire_Points",
           *(f"Wilderness_Area{i}" for i in range(1, 5)), *(f"Soil_Type{i}" for i in range(1, 41)),
           "Cover_Type"]


def build(source):
    return source.table("train.csv", COLUMNS)[COLUMNS[1:]]


if __name__ == "__main__":
    common.run(__file__, build, constant=2, most=(80000, 20000))
