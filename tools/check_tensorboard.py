"""Compares the TensorBoard events of run folders with their metrics.jsonl, by TensorBoard's reader.

    python tools/check_tensorboard.py RUN...      (a Python that has the package tensorboard)
For each folder below RUN that has both: every number of every line must be there once, at its step,
and nothing else. Exit status 1 when not.
"""
import glob
import json
import os
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def numbers(line, key):
    for name, value in line.items():
        inner = value.items() if isinstance(value, dict) else [(None, value)]
        for part, number in inner:
            is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
            if is_number and name != key:
                yield (f"{name}/{part}" if part is not None else name, line[key]), number


def check(folder):
    with open(f"{folder}/metrics.jsonl") as f:
        lines = [json.loads(x) for x in f]
    key = "iteration" if lines and "iteration" in lines[0] else "step"
    wanted = [x for line in lines for x in numbers(line, key)]
    board = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
    found = [((tag, e.step), e.value) for tag in board.Tags()["scalars"]
             for e in board.Scalars(tag)]
    values = dict(found)
    same = sorted(k for k, _ in wanted) == sorted(k for k, _ in found) and all(
        abs(values[k] - v) <= 1e-6 * abs(v) + 1e-37 for k, v in wanted)
    print(f"{folder}: {len(lines)} lines, {len(wanted)} numbers, {len(found)} scalars: "
          f"{'equal' if same else 'NOT EQUAL'}")
    return same


def main():
    folders = [os.path.dirname(path) for run in sys.argv[1:]
               for path in sorted(glob.glob(f"{run}/**/events.out.tfevents.*", recursive=True))]
    if not folders:
        sys.exit("no event files; usage: python tools/check_tensorboard.py RUN...")
    sys.exit(0 if all([check(folder) for folder in folders]) else 1)


main()
