"""Kaggle's Spaceship Titanic: train.csv, whose groups of passengers are kept together."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

COLUMNS = ["PassengerId", "HomePlanet", "CryoSleep", "Cabin", "Destination", "Age", "VIP",
           "RoomService", "FoodCourt", "ShoppingMall", "Spa", "VRDeck", "Name", "Transported"]


def build(source):
    table = source.table("train.csv", COLUMNS)
    return table.assign(_group=table["PassengerId"].astype(str).str.split("_").str[0])


if __name__ == "__main__":
    common.run(__file__, build, constant="False")
