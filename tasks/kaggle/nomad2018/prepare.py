"""Nomad2018: train.csv and the geometry.xyz of each of its materials."""

import pathlib
import sys

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common

FEATURES = ["spacegroup", "number_of_total_atoms", "percent_atom_al", "percent_atom_ga",
            "percent_atom_in", "lattice_vector_1_ang", "lattice_vector_2_ang",
            "lattice_vector_3_ang", "lattice_angle_alpha_degree", "lattice_angle_beta_degree",
            "lattice_angle_gamma_degree"]
TARGETS = ["formation_energy_ev_natom", "bandgap_energy_ev"]


def atoms(text):
    """The lines `atom x y z element` of FHI-aims's format."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 5 and words[0] == "atom":
            yield words[4], *words[1:4]


def build(source):
    table = source.table("train.csv", ["id", *FEATURES, *TARGETS])
    paths = [f"train/{ident}/geometry.xyz" for ident in table["id"]]
    lacking = [path for path in paths if path not in source.files and not source.find(path)]
    if lacking:
        raise common.PrepareError(f"{source.path} has no {lacking[0]}, and lacks "
                                  f"{len(lacking)} such files: unpack or add train.zip")

    def geometry(public, rows):
        found = [(row.id, *atom) for row in rows.sort_values("id").itertuples()
                 for atom in atoms(source.read(f"train/{sources[row.Index]}/geometry.xyz").decode())]
        pd.DataFrame(found, columns=["id", "atom", "x", "y", "z"]).to_csv(
            public / "geometry.csv", index=False)

    table = table.drop_duplicates(subset=FEATURES).reset_index(drop=True)
    sources = table["id"].tolist()
    energies = {f"log1p_{name}": np.log1p(table[name]) for name in TARGETS}
    return table[FEATURES].assign(**energies), {}, geometry


if __name__ == "__main__":
    common.run(__file__, build, constant=0.5)
