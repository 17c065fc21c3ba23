"""Runs every idea of a task on its starter and prints what it does to both scores (a tool for task
authors; mlagent itself never calls it).

    <home>/venv/bin/python tasks/try_ideas.py TASK [--idea ID ...] [--combine N] [--reference]

Needs the prepared data (data/TASK and answers/TASK.csv below the home folder). Each script runs in
a fork of this process, which has imported the usual packages, in a temporary folder, without a
sandbox.
Scores are scikit-learn's. Exit status 1 when an idea does not apply, fails, or is too slow.
"""

import argparse
import contextlib
import os
import pathlib
import random
import re
import runpy
import signal
import statistics
import sys
import tempfile
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd
import yaml
# Unused here: a fork that need not import them starts at once.
from sklearn import ensemble, linear_model, model_selection, pipeline, svm, tree  # noqa: F401
from sklearn import metrics

HERE = pathlib.Path(__file__).resolve().parent
BLOCK = re.compile(r"<<<<<<< SEARCH\n(.*?\n)?=======\n(.*?\n)?>>>>>>> REPLACE(?:\n|\Z)", re.S)
FAMILIES = {"features", "model", "hyper-parameters", "preprocessing", "ensembling", "validation",
            "target transform", "text representation", "image representation"}
KEYS = ["id", "family", "text", "why", "edit"]
SLOWEST = 5.0
HELPS = 1e-9


def default_home():
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return pathlib.Path(os.environ.get("MLAGENT_HOME") or os.path.join(base, "mlagent"))


def apply(edit, script):
    """The script after the blocks, or None and what is wrong with them."""
    blocks = BLOCK.findall(edit)
    if not blocks or BLOCK.sub("", edit).strip():
        return None, "not only SEARCH/REPLACE blocks"
    for search, replace in blocks:
        found = ("\n" + script).count("\n" + search)
        if not search or found != 1:
            return None, f"occurs {found} times: {search.splitlines()[:1]}"
        script = ("\n" + script).replace("\n" + search, "\n" + replace)[1:]
    return script, ""


def map5(truth, guesses):
    ranks = [guess.split()[:5] for guess in guesses]
    return np.mean([1 / (1 + r.index(t)) if t in r else 0 for t, r in zip(truth, ranks)])


def column_rmse(truth, guess):
    return np.sqrt(((truth - guess) ** 2).mean(axis=0)).mean()


METRICS = {
    "accuracy": metrics.accuracy_score,
    "auc": metrics.roc_auc_score,
    "mae": metrics.mean_absolute_error,
    "map5": map5,
    "mcrmse": column_rmse,
    "mean_column_auc": metrics.roc_auc_score,
    "pearson": lambda truth, guess: np.corrcoef(truth, guess)[0, 1],
    "qwk": lambda truth, guess: metrics.cohen_kappa_score(truth, guess, weights="quadratic"),
    "rmse": metrics.root_mean_squared_error,
    "rmsle": metrics.root_mean_squared_log_error,
}


class Bench:
    """A task with its data: runs scripts and scores what they write."""

    def __init__(self, name, home):
        self.task = yaml.safe_load((HERE / name / "task.yaml").read_text())
        self.data = home / "data" / name
        self.answers = pd.read_csv(home / "answers" / f"{name}.csv")
        self.sign = 1 if self.task["direction"] == "higher" else -1
        self.script = (HERE / name / "env" / self.task["script"]).read_text()

    def run(self, script):
        """Scores of both halves, mean over splits (or None), seconds of one run in all splits, and
        the last line the script printed in the last one."""
        splits, scores, seconds = self.task.get("splits", 1), [], 0.0
        for split in range(splits):
            here, answers = self.data, self.answers
            if splits > 1:
                here, answers = here / f"split{split}", answers[answers["split"] == split]
            one, taken, last = self.run_split(script, here, answers)
            seconds += taken
            if one is None:
                return None, seconds, last
            scores.append(one)
        mean = {half: statistics.fmean(s[half] for s in scores) for half in scores[0]}
        return mean, seconds, last

    def run_split(self, script, data, answers):
        with tempfile.TemporaryDirectory(prefix="try-ideas-") as folder:
            place = pathlib.Path(folder)
            (place / "data").symlink_to(data)
            (place / "train.py").write_text(script)
            start = time.monotonic()
            pid = os.fork()
            if pid == 0:
                self.child(place)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            seconds = time.monotonic() - start
            lines = (place / "log.txt").read_text().strip().splitlines() or [""]
            if code != 0:
                return None, seconds, lines[-1]
            try:
                scores = self.score(answers, pd.read_csv(place / "submission.csv"))
            except (OSError, ValueError, KeyError, AssertionError) as error:
                return None, seconds, f"submission: {error}"
            return scores, seconds, lines[-1]

    def child(self, place):
        code = 1
        with open(place / "log.txt", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os.chdir(place)
            signal.alarm(int(self.task["limits"]["seconds"]) + 1)
            with contextlib.suppress(SystemExit):
                try:
                    runpy.run_path("train.py", run_name="__main__")
                    code = 0
                except BaseException as error:
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    def score(self, answers, submission):
        ident, classes = self.task["id_column"], self.task.get("classes")
        targets = self.task.get("target_columns") or [self.task["target_column"]]
        columns = classes or targets
        assert sorted(submission[ident]) == sorted(answers[ident]), "not one row for each id"
        guess = submission.set_index(ident).loc[answers[ident], columns]
        assert guess.notna().all(axis=None), "a value is missing"
        truth = answers[targets]
        if len(columns) == 1:
            truth, guess = truth[columns[0]], guess[columns[0]]
        return {half: float(self.metric(truth, guess, (answers["half"] == half).to_numpy()))
                for half in ("public", "private")}

    def metric(self, truth, guess, rows):
        truth, guess = truth[rows].to_numpy(), guess[rows].to_numpy()
        classes = self.task.get("classes")
        if self.task["metric"] != "log_loss":
            return METRICS[self.task["metric"]](truth, guess)
        if not classes:
            return metrics.log_loss(truth, guess, labels=[0, 1])
        order = np.argsort(classes)
        guess = guess[:, order] / guess.sum(axis=1, keepdims=True)
        return metrics.log_loss(truth.ravel(), guess, labels=[classes[i] for i in order])


def check_form(ideas):
    seen, bad = set(), []
    for idea in ideas:
        where = idea.get("id", "?")
        if list(idea) != KEYS:
            bad.append(f"{where}: keys are {list(idea)}, not {KEYS}")
        if where in seen:
            bad.append(f"{where}: the id is taken")
        if idea["family"] not in FAMILIES:
            bad.append(f"{where}: unknown family {idea['family']}")
        if len(idea["text"].split()) > 20:
            bad.append(f"{where}: the text has more than 20 words")
        seen.add(where)
    return bad


def try_each(bench, ideas, base):
    scale = abs(bench.task["reference"]["public"] - base["public"]) or 1.0
    rows, bad = [], []
    print("id\tfamily\tbefore\tafter\tgain\tprivate gain\tshare of the way\tseconds\tlast line")
    for idea in ideas:
        script, why = apply(idea["edit"], bench.script)
        if script is None:
            bad.append(f"{idea['id']}: {why}")
            continue
        scores, seconds, last = bench.run(script)
        if scores is None or seconds > SLOWEST:
            fault = "failed" if scores is None else "slow"
            bad.append(f"{idea['id']}: {fault}, {seconds:.1f} s, {last}")
            continue
        gain = {h: bench.sign * (scores[h] - base[h]) for h in scores}
        rows.append((idea["family"], gain, seconds))
        print(f"{idea['id']}\t{idea['family']}\t{base['public']:.5g}\t{scores['public']:.5g}\t"
              f"{gain['public']:+.4g}\t{gain['private']:+.4g}\t{gain['public'] / scale:+.2f}\t"
              f"{seconds:.2f}\t{last[:60]}", flush=True)
    return rows, bad


def summarise(rows):
    gains = [gain["public"] for _, gain, _ in rows]
    both = sum(1 for _, gain, _ in rows if min(gain.values()) > HELPS)
    help_, hurt = sum(g > HELPS for g in gains), sum(g < -HELPS for g in gains)
    print(f"\n{len(rows)} ideas run: {help_} help on the public half, {both} on both, "
          f"{len(rows) - help_ - hurt} change nothing, {hurt} hurt; "
          f"median {statistics.median(s for _, _, s in rows):.2f} s, "
          f"slowest {max(s for _, _, s in rows):.2f} s")
    for family in sorted({f for f, _, _ in rows}):
        own = [g["public"] for f, g, _ in rows if f == family]
        print(f"  {family}: {len(own)}, {sum(g > HELPS for g in own)} help, best {max(own):+.4g}")


def combine(bench, ideas, base, times):
    """Random pairs and triples: how many still apply (in order), run, and help."""
    rng = random.Random(0)
    applied = ran = helped = 0
    for _ in range(times):
        script, fits = bench.script, True
        chosen = rng.sample(ideas, rng.choice((2, 3)))
        for idea in chosen:
            changed, _ = apply(idea["edit"], script)
            fits = fits and changed is not None
            script = changed or script
        applied += fits
        scores, _, last = bench.run(script) if fits else (None, 0, "")
        if fits and scores is None:
            print(f"fails together: {[i['id'] for i in chosen]}: {last}")
        ran += scores is not None
        helped += scores is not None and bench.sign * (scores["public"] - base["public"]) > HELPS
    print(f"combinations: {times} tried, {applied} apply, {ran} run, {helped} help")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("task")
    parser.add_argument("--home", type=pathlib.Path, default=default_home())
    parser.add_argument("--idea", action="append", help="only this idea (may be given again)")
    parser.add_argument("--combine", type=int, default=0, metavar="N",
                        help="also try N random pairs and triples")
    parser.add_argument("--reference", action="store_true", help="only starter and reference.py")
    options = parser.parse_args()
    bench = Bench(options.task, options.home)

    base, seconds, last = bench.run(bench.script)
    if base is None:
        sys.exit(f"the starter fails: {last}")
    print(f"starter: public {base['public']!r} private {base['private']!r} {seconds:.2f} s")
    if options.reference:
        best, seconds, last = bench.run((HERE / options.task / "reference.py").read_text())
        print(f"reference: {last}" if best is None else
              f"reference: public {best['public']!r} private {best['private']!r} {seconds:.2f} s")
        return
    everything = yaml.safe_load((HERE / options.task / "ideas.yaml").read_text())["ideas"]
    bad = check_form(everything)
    ideas = [i for i in everything if not options.idea or i["id"] in options.idea]
    rows, failed = try_each(bench, ideas, base)
    if rows:
        summarise(rows)
    if options.combine:
        combine(bench, everything, base, options.combine)
    for line in bad + failed:
        print(f"BAD {line}")
    sys.exit(1 if bad + failed else 0)


if __name__ == "__main__":
    main()
