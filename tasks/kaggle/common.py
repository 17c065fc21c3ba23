"""What every prepare.py of a competition shares: reading its download, splitting, writing.

A competition's own test set has no labels, so its training rows are split again. Nothing here
knows a particular competition.
"""

import argparse
import gzip
import io
import os
import pathlib
import sys
import tarfile
import tempfile
import zipfile
import zlib

import numpy as np
import pandas as pd
import yaml

SEED = 2505
ROWS_MIN = 20


class PrepareError(Exception):
    """The world failed: the message says what, where and what to do."""


class Source:
    """A competition's files: a folder or a zip, in which archives count as unpacked."""

    def __init__(self, path):
        self.path, self.files, self.sealed = path, {}, []
        if path.is_dir():
            for root, _, names in os.walk(path):
                for name in sorted(names):
                    full = pathlib.Path(root, name)
                    self._add(full.relative_to(path).as_posix(), full.read_bytes,
                              lambda full=full: open(full, "rb"))
        elif path.is_file() and zipfile.is_zipfile(path):
            self._add_zip(open(path, "rb"), "")
        elif path.is_file():
            raise PrepareError(f"{path} is not a whole zip file: download it again")
        else:
            raise PrepareError(f"{path}: there is no such file or folder")

    def _add(self, name, read, open_stream):
        if "__MACOSX" in name or name.rpartition("/")[2].startswith("._"):
            return
        if name.endswith(".zip"):
            self._add_zip(spooled(open_stream()), name[:-len(".zip")])
        elif name.endswith((".tar.gz", ".tgz")):
            self._add_tar(spooled(open_stream()), name)
        elif name.endswith(".7z"):
            self.sealed.append(name)
        else:
            self.files[name] = read

    def _add_zip(self, stream, name):
        """`train.zip` may hold train/..., or the files of train/ themselves."""
        archive = zipfile.ZipFile(stream)
        members = [m for m in archive.namelist() if not m.endswith("/")]
        stem = name.rpartition("/")[2]
        inside = name if len(members) > 1 and not any(
            m.startswith(stem + "/") for m in members) else name.rpartition("/")[0]
        for member in members:
            self._add(f"{inside}/{member}".lstrip("/"),
                      lambda member=member: archive.read(member),
                      lambda member=member: archive.open(member))

    def _add_tar(self, stream, name):
        archive = tarfile.open(fileobj=stream)
        for member in archive.getmembers():
            if member.isfile():
                self._add(f"{name.rpartition('/')[0]}/{member.name}".lstrip("/"),
                          lambda member=member: archive.extractfile(member).read(),
                          lambda member=member: archive.extractfile(member))

    def find(self, name):
        """The path that ends in `name` and lies least deep, or None."""
        hits = [path for path in self.files if ("/" + path).endswith("/" + name)]
        return min(hits, key=lambda path: (path.count("/"), path), default=None)

    def need(self, *names):
        """Refuses a download that lacks a file, and names all that it lacks."""
        lacking = [name for name in names if not self.find(name)]
        if not lacking:
            return
        sealed = [s for s in self.sealed if any(pathlib.PurePath(name).name in s
                                                for name in lacking)]
        hint = f"unpack {', '.join(sealed)} first" if sealed else \
            "give the competition's whole download"
        raise PrepareError(f"{self.path} has no {', no '.join(lacking)}: {hint}")

    def read(self, name):
        self.need(name)
        data = self.files[self.find(name)]()
        return gzip.decompress(data) if name.endswith(".gz") else data

    def table(self, name, columns, **options):
        """A CSV file that has these columns."""
        try:
            table = pd.read_csv(io.BytesIO(self.read(name)), **options)
        except ValueError as error:         # pandas's own errors and bad UTF-8 are ValueErrors
            raise PrepareError(f"{name} of {self.path} is not CSV: {error}") from None
        lacking = [column for column in columns if column not in table]
        if lacking:
            raise PrepareError(f"{name} of {self.path} has no column "
                               f"{', no column '.join(lacking)}: is it another competition's?")
        return table

    def folder(self, name, ending):
        """The files of the folders called `name`, as {file name: reader}; never empty."""
        found = {}
        for path, read in sorted(self.files.items()):
            parts = path.split("/")
            if len(parts) > 1 and parts[-2] == name and path.lower().endswith(ending):
                found.setdefault(parts[-1], read)
        if not found:
            raise PrepareError(f"{self.path} has no {name}/*{ending}: give the competition's whole "
                               "download")
        return found


def spooled(stream):
    """A copy that can be sought in quickly; deleted when it is closed."""
    copy = tempfile.TemporaryFile()
    with stream:
        while block := stream.read(1 << 20):
            copy.write(block)
    copy.seek(0)
    return copy


def picture(read, name, size=None, mode="RGB"):
    """An image file, uint8 [height, width(, 3)], scaled to [size, size(, 3)] if a size is given."""
    from PIL import Image
    try:
        image = Image.open(io.BytesIO(read())).convert(mode)
        return np.asarray(image.resize((size, size)) if size else image)
    except OSError as error:
        raise PrepareError(f"{name} is no image: {error}") from None


def pictures(source, folder, names, size):
    """The image files `names` (.jpg) of a folder, in that order, uint8 [n, size, size, 3]."""
    files = source.folder(folder, ".jpg")
    lacking = [name for name in names if name not in files]
    if lacking:
        raise PrepareError(f"{source.path} has no {folder}/{lacking[0]} and lacks {len(lacking)} "
                           f"of its {len(names)} pictures: give the competition's whole download")
    return np.stack([picture(files[name], name, size) for name in names])


def by_turns(values, turns, rng):
    """A number below `turns` for each value, so that rows alike in value get all of them."""
    order = rng.permutation(len(values))
    codes = pd.factorize(np.asarray(values), sort=True)[0]
    order = order[np.argsort(codes[order], kind="stable")]
    turn = np.empty(len(values), dtype=int)
    for at in range(0, len(order), turns):
        block = order[at:at + turns]
        turn[block] = rng.permutation(turns)[:len(block)]
    return turn


def sides(table, target, rng):
    """Is a row for testing, and in which half: given, by groups, or stratified by the
    target or by _strata."""
    if "_group" in table:
        groups, at = np.unique(table["_group"].astype(str), return_inverse=True)
        place = rng.permutation(len(groups))[at]
        return place % 5 == 0, np.where(place % 10 == 0, "public", "private")
    strata = (table["_strata"] if "_strata" in table else table[target]).to_numpy()
    test = (table["_test"].to_numpy() if "_test" in table
            else by_turns(strata, 5, rng) == 0)
    half = np.full(len(table), "public", dtype=object)
    half[test] = np.where(by_turns(strata[test], 2, rng) == 0, "public", "private")
    return test, half


def chosen(rows, most, rng):
    return np.sort(rng.permutation(rows)[:most])


def write(made, task, constant, most, out):
    """Writes public/ and answers.csv. `made` is a table; perhaps arrays of as many rows, each of
    which becomes train_NAME.npy and test_NAME.npy; perhaps also(public, rows), which writes more
    files, of the rows with all their columns, their ids and _side. Columns that begin with "_" are
    not written. Ids are a random permutation; the seed decides everything."""
    table, arrays, also = (*made, None)[:3] if isinstance(made, tuple) else (made, {}, None)
    targets = task.get("target_columns") or [task["target_column"]]
    ident, rng = task["id_column"], np.random.default_rng(SEED)
    if not arrays:
        features = [c for c in table if c not in targets and not c.startswith("_")]
        table = table.drop_duplicates(subset=features).reset_index(drop=True)
    if len(table) < ROWS_MIN:
        raise PrepareError(f"only {len(table)} rows that differ: a task needs {ROWS_MIN}")
    test, half = sides(table, targets[0], rng)
    kept = {"train": chosen(np.flatnonzero(~test), most[0], rng),
            "test": chosen(np.flatnonzero(test), most[1], rng)}
    total = sum(map(len, kept.values()))
    ids = np.zeros(len(table), dtype=int)
    ids[np.concatenate(list(kept.values()))] = rng.permutation(total) + 1
    public = out / "public"
    public.mkdir(parents=True, exist_ok=True)
    if also:
        side = np.where(test, "test", "train")
        also(public, table.assign(**{ident: ids, "_side": side})[ids > 0])
    table = table.drop(columns=[c for c in table if c == ident or c.startswith("_")])
    table.insert(0, ident, ids)
    for side, rows in kept.items():
        rows = rows[np.argsort(ids[rows])]
        part = table.iloc[rows]
        shown = part if side == "train" else part.drop(columns=targets)
        shown.to_csv(public / f"{side}.csv", index=False)
        for name, array in arrays.items():
            np.save(public / f"{side}_{name}.npy", array[rows])
        if side == "test":
            guess = dict.fromkeys(task.get("classes") or targets, constant)
            part[[ident]].assign(**guess).to_csv(public / "sample_submission.csv", index=False)
            part[[ident, *targets]].assign(half=half[rows]).to_csv(out / "answers.csv", index=False)


def run(folder, build, constant, most=(10 ** 9, 10 ** 9)):
    """The whole of a prepare.py: build(source) gives what write() writes; `most` rows of train and
    test are kept."""
    folder = pathlib.Path(folder).resolve().parent
    parser = argparse.ArgumentParser(description="Writes public/ and answers.csv of this task.")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="STAGING")
    parser.add_argument("--packages", type=pathlib.Path, help="not used")
    parser.add_argument("--from", dest="source", type=pathlib.Path, metavar="DIR",
                        help="the competition's download, a folder or a zip")
    options = parser.parse_args()
    task = yaml.safe_load((folder / "task.yaml").read_text())
    try:
        if not options.source:
            raise PrepareError("its data must be downloaded by hand, from "
                               f"{task['source']['mirrors']}; then: mlagent tasks prepare "
                               f"{task['name']} --from DIR")
        source = Source(options.source)
        write(build(source), task, constant, most, options.out)
    except ModuleNotFoundError as error:
        sys.exit(f"{sys.executable} has no {error.name}: run scripts/setup --python")
    except (PrepareError, OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error,
            EOFError) as error:
        sys.exit(str(error))
