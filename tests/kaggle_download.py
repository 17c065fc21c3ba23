"""Writes small folders in the layout of competitions' downloads, with made-up rows.

usage: kaggle_download.py DIR NAME...     (NAME: a folder of tasks/kaggle; makes DIR/NAME)
"""

import io
import json
import pathlib
import pickle
import shutil
import sys
import tarfile
import zipfile

import numpy as np
import pandas as pd

RNG = np.random.default_rng(7)
ROWS = 240
WORDS = ("river stone the of a night cold house walked slowly never light dark idiot water was "
         "said and machine").split()


def text(least=5, most=40):
    return " ".join(RNG.choice(WORDS, RNG.integers(least, most)))


def texts(rows=ROWS):
    return [text() for _ in range(rows)]


def numbers(*shape):
    return RNG.normal(size=shape).round(4)


def csv(out, name, table):
    table.to_csv(out / name, index=False)


def zipped(out, name, members):
    with zipfile.ZipFile(out / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def some(values, rows=ROWS):
    """Each of the values, in turn."""
    return np.resize(np.array(values, dtype=object), rows)


def home_data(out):
    table = pd.DataFrame({"Id": range(1, ROWS + 1), "MSSubClass": 20, "MSZoning": "RL",
                          "LotFrontage": some([60, np.nan]),
                          "LotArea": RNG.integers(2000, 20000, ROWS), "Alley": np.nan,
                          "Neighborhood": some(["NAmes", "OldTown"]),
                          "OverallQual": RNG.integers(1, 11, ROWS),
                          "YearBuilt": RNG.integers(1900, 2010, ROWS),
                          "GrLivArea": RNG.integers(600, 3000, ROWS), "SaleCondition": "Normal"})
    price = 20000 * table["OverallQual"] + 50 * table["GrLivArea"]
    csv(out, "train.csv", table.assign(SalePrice=price))
    csv(out, "test.csv", table)
    csv(out, "sample_submission.csv", table[["Id"]].assign(SalePrice=180000))


def spaceship_titanic(out):
    spent = {name: RNG.integers(0, 900, ROWS) for name in
             ("RoomService", "FoodCourt", "ShoppingMall", "Spa", "VRDeck")}
    table = pd.DataFrame({"PassengerId": [f"{i // 2 + 1:04d}_{i % 2 + 1:02d}" for i in range(ROWS)],
                          "HomePlanet": some(["Earth", "Mars", np.nan]),
                          "CryoSleep": some([True, False, np.nan]), "Cabin": "F/1/S",
                          "Destination": "TRAPPIST-1e", "Age": some([20, np.nan, 40.0]),
                          "VIP": False, **spent, "Name": "Ann Other"})
    csv(out, "train.csv", table.assign(Transported=spent["Spa"] < 400))
    csv(out, "test.csv", table)


def nomad2018(out):
    frame = pd.DataFrame({"id": range(1, ROWS + 1), "spacegroup": 33, "number_of_total_atoms": 2})
    shares = RNG.dirichlet([1, 1, 1], ROWS).round(4)
    for i, metal in enumerate(("al", "ga", "in")):
        frame[f"percent_atom_{metal}"] = shares[:, i]
    for i in (1, 2, 3):
        frame[f"lattice_vector_{i}_ang"] = 5 + numbers(ROWS)
    for angle in ("alpha", "beta", "gamma"):
        frame[f"lattice_angle_{angle}_degree"] = 90.0
    frame["formation_energy_ev_natom"] = shares[:, 0]
    frame["bandgap_energy_ev"] = 2 + shares[:, 1]
    xyz = ("#=======\nlattice_vector 5.0 0 0\nlattice_vector 0 5.0 0\nlattice_vector 0 0 5.0\n"
           "atom 0.1 0.2 0.3 Al\natom 1.0 2.0 3.0 O\n")
    zipped(out, "train.csv.zip", {"train.csv": frame.to_csv(index=False)})
    zipped(out, "train.zip", {f"train/{i}/geometry.xyz": xyz for i in frame["id"]})


def tps_dec_2021(out):
    names = ["Elevation", "Aspect", "Slope", "Horizontal_Distance_To_Hydrology",
             "Vertical_Distance_To_Hydrology", "Horizontal_Distance_To_Roadways", "Hillshade_9am",
             "Hillshade_Noon", "Hillshade_3pm", "Horizontal_Distance_To_Fire_Points"]
    table = pd.DataFrame(RNG.integers(0, 3000, (ROWS, len(names))), columns=names)
    flags = [*(f"Wilderness_Area{i}" for i in range(1, 5)), *(f"Soil_Type{i}" for i in range(1, 41))]
    table[flags] = RNG.integers(0, 2, (ROWS, len(flags)))
    table.insert(0, "Id", range(ROWS))
    csv(out, "train.csv", table.assign(Cover_Type=some([1, 2, 3, 2, 7, 2])))
    csv(out, "test.csv", table)


def leaf_classification(out):
    names = [f"{kind}{i}" for kind in ("margin", "shape", "texture") for i in range(1, 65)]
    table = pd.DataFrame(numbers(ROWS, len(names)), columns=names)
    table.insert(0, "id", range(1, ROWS + 1))
    table.insert(1, "species", some(["Acer_Opalus", "Tilia_Oliveri", "Quercus_x_Turneri"]))
    zipped(out, "train.csv.zip", {"train.csv": table.to_csv(index=False)})
    zipped(out, "test.csv.zip", {"test.csv": table.drop(columns="species").to_csv(index=False)})


def feedback_prize_ell(out):
    ratings = {name: RNG.integers(2, 11, ROWS) / 2 for name in
               ("cohesion", "syntax", "vocabulary", "phraseology", "grammar", "conventions")}
    csv(out, "train.csv", pd.DataFrame({"text_id": [f"{i:012X}" for i in range(ROWS)],
                                        "full_text": texts(), **ratings}))


def essay_scoring(out):
    csv(out, "train.csv", pd.DataFrame({"essay_id": [f"{i:07x}" for i in range(ROWS)],
                                        "full_text": texts(), "score": some([1, 2, 3, 4, 5, 6])}))


def detecting_insults(out):
    table = pd.DataFrame({"Insult": some([0, 0, 1]), "Date": some(["20120618192155Z", np.nan]),
                          "Comment": [f'"{t}"' for t in texts()]})
    csv(out, "train.csv", table[:160])
    again = pd.concat([table[160:], table[:5]])         # some comments are in train.csv too
    csv(out, "test_with_solutions.csv", again.assign(Usage="PrivateTest"))


def spooky_author(out):
    table = pd.DataFrame({"id": [f"id{i:05d}" for i in range(ROWS)], "text": texts(),
                          "author": some(["EAP", "HPL", "MWS"])})
    zipped(out, "train.zip", {"train.csv": table.to_csv(index=False)})


def jigsaw_toxic(out):
    flags = RNG.integers(0, 2, (ROWS, 6))
    table = pd.DataFrame(flags, columns=["toxic", "severe_toxic", "obscene", "threat", "insult",
                                         "identity_hate"])
    table.insert(0, "id", [f"{i:016x}" for i in range(ROWS)])
    table.insert(1, "comment_text", texts())
    zipped(out, "train.csv.zip", {"train.csv": table.to_csv(index=False)})


def us_patent_phrase(out):
    csv(out, "train.csv", pd.DataFrame({"id": [f"{i:016x}" for i in range(ROWS)],
                                        "anchor": some([f"cold {w}" for w in WORDS]),
                                        "target": texts(), "context": some(["A47", "H01"]),
                                        "score": RNG.integers(0, 5, ROWS) / 4}))


def cifar_10(out):
    folder = out / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {b"data": RNG.integers(0, 256, (40, 3072), dtype=np.uint8),
                 b"labels": [i % 10 for i in range(40)]}
        (folder / name).write_bytes(pickle.dumps(batch))
    kinds = b"airplane automobile bird cat deer dog frog horse ship truck".split()
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": kinds}))
    with tarfile.open(out / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    shutil.rmtree(folder)


def statoil_iceberg(out):
    rows = [{"id": f"{i:08x}", "band_1": numbers(75 * 75).tolist(),
             "band_2": numbers(75 * 75).tolist(), "inc_angle": 40.5 if i % 5 else "na",
             "is_iceberg": i % 2} for i in range(60)]
    (out / "data/processed").mkdir(parents=True)
    (out / "data/processed/train.json").write_text(json.dumps(rows))


def ogbn_arxiv(out):
    def write(name, table):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(table).to_csv(out / name, header=False, index=False)

    write("arxiv/raw/edge.csv.gz", RNG.integers(0, ROWS, (900, 2)))
    write("arxiv/raw/node-feat.csv.gz", numbers(ROWS, 128))
    write("arxiv/raw/node-label.csv.gz", some([3, 16, 24]))
    write("arxiv/raw/node_year.csv.gz", 2010 + np.arange(ROWS) * 10 // ROWS)
    for name, at in (("train", range(140)), ("valid", range(140, 180)), ("test", range(180, ROWS))):
        write(f"arxiv/split/time/{name}.csv.gz", list(at))


def image(kind, size=40, mode="RGB"):
    from PIL import Image
    data = io.BytesIO()
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(data, kind)
    return data.getvalue()


def aerial_cactus(out):
    names = [f"{i:032x}.jpg" for i in range(60)]
    csv(out, "train.csv", pd.DataFrame({"id": names, "has_cactus": some([0, 1, 1], 60)}))
    zipped(out, "train.zip", {f"train/{name}": image("JPEG", 32) for name in names})


def dogs_vs_cats(out):
    zipped(out, "train.zip", {f"train/{kind}.{i}.jpg": image("JPEG")
                              for kind in ("cat", "dog") for i in range(30)})


def plant_pathology(out):
    (out / "images").mkdir()
    for i in range(60):
        (out / f"images/Train_{i}.jpg").write_bytes(image("JPEG"))
    kinds = pd.get_dummies(some(["healthy", "multiple_diseases", "rust", "scab"], 60), dtype=int)
    kinds.insert(0, "image_id", [f"Train_{i}" for i in range(60)])
    csv(out, "train.csv", kinds)


def whale(out):
    names = [f"{i:08x}.jpg" for i in range(60)]
    csv(out, "train.csv", pd.DataFrame({"Image": names,
                                        "Id": some(["new_whale", "w_1", "w_2", "w_3"], 60)}))
    (out / "train").mkdir()
    for name in names:
        (out / "train" / name).write_bytes(image("JPEG"))


def denoising_dirty_documents(out):
    for folder in ("train", "train_cleaned"):
        zipped(out, f"{folder}.zip", {f"{folder}/{i}.png": image("PNG", 50, "L")
                                      for i in range(2, 24)})


if __name__ == "__main__":
    for name in sys.argv[2:]:
        where = pathlib.Path(sys.argv[1], name)
        where.mkdir(parents=True)
        globals()[name.replace("-", "_")](where)
