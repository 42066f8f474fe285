"""What a study's lane takes beside its trials of one second: `make bench-tune-overhead`.

A study of which many trials are recorded already is carried on by some more, twice: the difference
leaves out what is paid once a lane. Wall time is what a user waits for, processor time tells what
a machine with other work does to it.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

from mlbroker.broker.tuning.lane import LIFETIME
from mlbroker.broker.tuning.record import StudyFolder, study_body
from mlbroker.broker.tuning.writer import Writer
from mlbroker.profiles.search_space import Choice, Range, Study

SPACE = {
    "LR": Range(1e-5, 1e-1, log=True),
    "DROPOUT": Range(0, 0.5),
    "LAYERS": Range(1, 64, whole=True),
    "MOMENTUM": Range(0, 0.9),
    "OPT": Choice(("sgd", "adam", "rmsprop")),
}
TRIAL = "sleep 1; echo ::mlbroker metric=$DROPOUT at=1"


class Took(NamedTuple):
    """Seconds of a lane and of all that it started."""

    wall_s: float
    processor_s: float


def took(searcher: str, before: int, more: int) -> Took:
    """A lane that does `more` trials of a study that has so many `before`."""
    with tempfile.TemporaryDirectory() as state:
        folder = StudyFolder.of(Path(state), "s")
        study = Study("acc", True, SPACE, "epoch", 1, trials=before + more)
        folder.begin(
            Path(state),
            {"command": TRIAL, "workdir": state, "checkpoint": None, "study": study_body(study),
             "searcher": searcher, "seed": 1, "patience": None},
        )  # fmt: skip
        writer, lots = Writer(folder), Random(1)
        with writer.alone():
            for number in range(before):
                point = {name: part.at(lots.random()) for name, part in SPACE.items()}
                writer.add(kind="trial", trial=number, point=point, grace=1)
                value = point["DROPOUT"]
                writer.add(kind="metric", trial=number, at=1, value=value)
                writer.add(kind="worked", trial=number, until=1, seconds=1.0)
        used, began = _processor_s(), time.monotonic()
        subprocess.run(
            [sys.executable, "-I", "-m", "mlbroker.broker.tuning.lane", str(folder.path)],
            env={**os.environ, LIFETIME: "1000000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        spent = Took(time.monotonic() - began, _processor_s() - used)
        if len(folder.load().trials) != before + more:
            raise SystemExit("the lane did not do all trials")
        return spent


def _processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print what a trial of one second takes more."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--searcher", default="tpe")
    parser.add_argument("--before", type=int, default=950, help="trials that are there already")
    parser.add_argument("--trials", type=int, default=30, help="trials that are timed")
    given = parser.parse_args()
    few = given.trials // 4
    short = took(given.searcher, given.before, few)
    long = took(given.searcher, given.before, few + given.trials)
    wall_s = (long.wall_s - short.wall_s) / given.trials
    processor_s = (long.processor_s - short.processor_s) / given.trials
    print(
        f"{given.searcher}, after {given.before} trials, {given.trials} timed: a trial of 1 s "
        f"takes {wall_s:.3f} s ({wall_s - 1:.1%} more), {1000 * processor_s:.0f} ms of processor "
        f"time; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
