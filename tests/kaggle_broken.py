"""Takes each wanted file and column in turn out of made-up downloads: prepare.py must name it in
one line and make nothing. What is not wanted may be absent.

usage: kaggle_broken.py FOLDER NAME...     (FOLDER is empty; NAME: a folder of tasks/kaggle)
"""

import contextlib
import importlib.util
import io
import json
import pathlib
import pickle
import shutil
import sys

import kaggle_download
import pandas as pd

KAGGLE = pathlib.Path(__file__).resolve().parent.parent / "tasks/kaggle"
sys.path.insert(0, str(KAGGLE))
import common

TABLE = "train.csv"
# What may be absent: files by how their paths end, columns by name.
SPARE_FILES = ("/test.csv", "/sample_submission.csv")
SPARE_COLUMNS = {"home-data": {"LotFrontage", "Alley", "SaleCondition"},
                 "detecting-insults": {"Usage"}}
PICTURES = (".jpg", ".png", ".xyz")      # of these only the first of each folder is taken out


def load(name):
    spec = importlib.util.spec_from_file_location("prepare", KAGGLE / name / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unpack(download, folder):
    """The download's files, archives unpacked, as a person might have them."""
    for name, read in common.Source(download).files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read())


def attempt(module, folder, out):
    """What prepare.py says when it fails; None when it makes the data."""
    shutil.rmtree(out, ignore_errors=True)
    sys.argv = ["prepare.py", "--out", str(out), "--from", str(folder)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            common.run(module.__file__, module.build, constant=0)
    except SystemExit as stop:
        return str(stop.code)
    return None


def refuse(module, name, folder, out, taken, says):
    said = attempt(module, folder, out)
    if said is None:
        sys.exit(f"{name}: {taken} was taken out, and the data was made all the same")
    if says not in said or "\n" in said:
        sys.exit(f"{name}: {taken} was taken out, and it said: {said}")
    if out.exists():
        sys.exit(f"{name}: {taken} was taken out, and {out} is there")


def accept(module, name, folder, out, taken):
    said = attempt(module, folder, out)
    if said is not None:
        sys.exit(f"{name}: without {taken}, which it does not want, it said: {said}")


def files_of(folder):
    seen, chosen = set(), []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        kind = (path.parent.parent if path.suffix == ".xyz" else path.parent, path.suffix,
                path.name.split(".")[0] if path.name.startswith(("cat.", "dog.")) else "")
        if path.suffix in PICTURES and kind in seen:
            continue
        seen.add(kind)
        chosen.append(path)
    return chosen


def without_files(module, name, folder, out):
    count = 0
    for path in files_of(folder):
        taken = "/" + path.relative_to(folder).as_posix()
        others = [path]
        if path.name.startswith(("cat.", "dog.")):      # of these not one but a kind is wanted
            others = sorted(path.parent.glob(path.name[:4] + "*"))
        kept = {other: other.read_bytes() for other in others}
        for other in others:
            other.unlink()
        if taken.endswith(SPARE_FILES):
            accept(module, name, folder, out, taken)
        else:
            says = path.name if len(others) == 1 else path.name[:3] + "."
            refuse(module, name, folder, out, taken, says)
            count += 1
        for other, data in kept.items():
            other.write_bytes(data)
    return count


def without_columns(module, name, folder, out):
    count = 0
    for path in sorted(folder.rglob("*.csv")):
        if ("/" + path.name).endswith(SPARE_FILES):
            continue
        data = path.read_bytes()
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in table:
            table.drop(columns=column).to_csv(path, index=False)
            if column in SPARE_COLUMNS.get(name, ()):
                accept(module, name, folder, out, column)
            else:
                refuse(module, name, folder, out, column, f"no column {column}")
                count += 1
        path.write_bytes(data)
    return count


def without_fields(module, name, folder, out):
    """The same for a download that is no CSV: records of JSON, entries of a pickle."""
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            read, write = json.loads, lambda value: json.dumps(value).encode()
        elif path.name in ("data_batch_1", "test_batch", "batches.meta"):
            read, write = pickle.loads, pickle.dumps
        else:
            continue
        data = path.read_bytes()
        value = read(data)
        for field in list(value[0] if isinstance(value, list) else value):
            rows = value if isinstance(value, list) else [value]
            less = [{k: v for k, v in row.items() if k != field} for row in rows]
            path.write_bytes(write(less if isinstance(value, list) else less[0]))
            refuse(module, name, folder, out, field,
                   field if isinstance(field, str) else field.decode())
            count += 1
        path.write_bytes(data)
    return count


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:]:
        folder, out = root / f"{name}-files", root / f"{name}-out"
        download = root / f"{name}-download"
        download.mkdir()
        getattr(kaggle_download, name.replace("-", "_"))(download)
        unpack(download, folder)
        module = load(name)
        accept(module, name, folder, out, "nothing")
        files = without_files(module, name, folder, out)
        fields = (without_columns(module, name, folder, out)
                  + without_fields(module, name, folder, out))
        print(f"{name}: {files} files and {fields} columns, each missed")
