"""Writes tests/vectors/record_tensorboard: lines of a metrics.jsonl with times, and the event file
that TensorBoard's own classes make of them.

Run from the repository's root with a Python that has the package tensorboard:
    python tools/vectors_tensorboard.py
lines.jsonl: {"wall": time of the event, "line": a line of metrics.jsonl}. The first one's time is
that of the file's version. events.tfevents: made by tensorboard's Event messages and RecordWriter,
and read back by its EventAccumulator.
"""
import json
import os
import shutil
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

OUT = "tests/vectors/record_tensorboard"
LINES = [
    {"wall": 1764000000.25, "line": {
        "step": 1, "loss": 2.302585092994046, "val_loss": None, "tokens": 1024, "lr": 1e-4,
        "note": "text", "done": True, "grad_norm": 0.0,
        "actions": {"Edit Script": 3, "none": 0}, "list": [1, 2]}},
    {"wall": 1764000001.5, "line": {"step": 2, "loss": -1.5, "big": 1e300, "Größe": 7}},
    {"wall": 1764000002.75, "line": {"step": 300, "loss": 1e-42, "tokens": 123456789}},
    {"wall": 1764000009.0, "line": {"step": 5000000000}},
]


def scalars(line):
    for key, value in line.items():
        if key == "step":
            continue
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, number in inner:
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                yield f"{key}/{name}" if name else key, float(number)


def as_float32(value):
    return float("inf") if value > 3.4028235677973366e38 else value


def main():
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/lines.jsonl", "w") as f:
        for line in LINES:
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
    with open(f"{OUT}/events.tfevents", "wb") as f:
        writer = RecordWriter(f)
        first = Event(wall_time=LINES[0]["wall"], file_version="brain.Event:2")
        writer.write(first.SerializeToString())
        for at in LINES:
            values = [Summary.Value(tag=tag, simple_value=as_float32(value))
                      for tag, value in scalars(at["line"])]
            event = Event(wall_time=at["wall"], step=at["line"]["step"],
                          summary=Summary(value=values))
            writer.write(event.SerializeToString())
        writer.flush()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(f"{OUT}/events.tfevents", f"{folder}/events.out.tfevents.x")
        board = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
        found = {(tag, e.step, e.wall_time) for tag in board.Tags()["scalars"]
                 for e in board.Scalars(tag)}
    wanted = {(tag, at["line"]["step"], at["wall"]) for at in LINES for tag, _ in scalars(at["line"])}
    assert found == wanted, (found, wanted)
    print(f"{len(found)} scalars, read back by TensorBoard's EventAccumulator")


main()
