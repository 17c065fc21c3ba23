def read(path, sha256):
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        sys.exit(f"{path} has changed since the task was made: make it again")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def distinct(rows, seen):
    """The first of the rows with the same features, unless they are among those seen."""
    kept = []
    for row in rows:
        features = tuple(value for name, value in row.items() if name not in (ID, TARGET))
        if features not in seen:
            seen.add(features)
            kept.append(row)
    return kept


def place(row):
    """In order of the target: numbers by size, then texts."""
    try:
        number = float(row[TARGET])
    except ValueError:
        number = math.nan
    return (0, number, "") if math.isfinite(number) else (1, 0.0, row[TARGET])


def deal(rows, rng, names):
    """Gives each row one of the names: rows alike in the target get all of them by turns."""
    rng.shuffle(rows)
    rows.sort(key=place)
    parts = {name: [] for name in names}
    for at in range(0, len(rows), len(names)):
        some = list(names)
        rng.shuffle(some)
        for name, row in zip(some, rows[at:at + len(names)]):
            parts[name].append(row)
    return parts


def name_rows(train, test, rng):
    """A new id column tells nothing about the order of the source or about the halves."""
    numbers = list(range(1, len(train) + len(test) + 1))
    rng.shuffle(numbers)
    for row, number in zip(train + test, numbers):
        row[ID] = number
    for rows in (train, test):
        rows.sort(key=lambda row: row[ID])


def write(path, columns, rows):
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description="Writes public/ and answers.csv of this task.")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="STAGING")
    parser.add_argument("--packages", type=pathlib.Path, help="not used: the data is in source/")
    out = parser.parse_args().out
    csv.field_size_limit(1 << 30)
    source = pathlib.Path(__file__).resolve().parent / "source"
    tables = {name: read(source / name, sha256) for name, sha256 in SOURCES.items()}
    columns = [c for c in tables["train.csv"][0] if c not in (ID, TARGET)]
    rng, seen = random.Random(2505), set()
    hidden = distinct(tables.get("test.csv", []), seen)
    train = distinct(tables["train.csv"], seen)
    if hidden:
        halves = deal(hidden, rng, ["public", "private"])
    else:
        parts = deal(train, rng, ["train"] * 4 + ["public", "private"])
        train, halves = parts.pop("train"), parts
    test = [dict(row, half=half) for half, rows in halves.items() for row in rows]
    if len(train) + len(test) < ROWS_MIN:
        sys.exit(f"only {len(train) + len(test)} rows differ in their features, "
                 f"and a task needs {ROWS_MIN}")
    if ID not in train[0]:
        name_rows(train, test, rng)
    elif len({row[ID].strip() for row in train + test}) < len(train) + len(test):
        sys.exit(f"train.csv and test.csv share values of {ID}; name another column with --id")
    else:
        test.sort(key=lambda row: row[ID])
    middle = sorted(train, key=place)[len(train) // 2][TARGET]
    sample = [{ID: row[ID], TARGET: SAMPLE or middle} for row in test]
    (out / "public").mkdir(parents=True, exist_ok=True)
    write(out / "public/train.csv", [ID] + columns + [TARGET], train)
    write(out / "public/test.csv", [ID] + columns, test)
    write(out / "public/sample_submission.csv", [ID, TARGET], sample)
    write(out / "answers.csv", [ID, TARGET, "half"], test)


if __name__ == "__main__":
    main()
