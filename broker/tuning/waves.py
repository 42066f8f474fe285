"""A study on rented machines, wave after wave: who does what next, what goes along, what came back.

Nobody can reach a rented machine while it works, so a lane is handed a batch of trials, and tells
what came of them when its run is over: in the run's checkpoint, which travels both ways.
"""

import json
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.guest.packing import pack
from mlbroker.broker.guest.tar_reader import BadArchive
from mlbroker.broker.guest.unpacking import unpack
from mlbroker.broker.home import private_folder
from mlbroker.broker.tuning.batch import results
from mlbroker.broker.tuning.checkpoints import Checkpoints
from mlbroker.broker.tuning.deciding import ending, next_step
from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.record import StudyFolder, StudyState
from mlbroker.broker.tuning.writer import Writer
from mlbroker.profiles.search_space import variables

# A lane's batch, at most: each wave starts machines, and knows what the ones before came to.
PER_LANE = 9
_PROGRAM = ".mlbroker-lane"
COMMAND = (
    f"exec python3 -c \"import sys; sys.path.insert(0, '{_PROGRAM}'); "
    'from lane.batch import main; sys.exit(main())"'
)


class Task(NamedTuple):
    """A trial is to be carried on `until` so many steps."""

    trial: int
    until: int


class Stretch(NamedTuple):
    """What was worked on a trial at once."""

    steps: int  # none, where the trial failed
    seconds: float


def program() -> dict[str, bytes]:
    """What a rented lane runs, as files beside the job's own."""
    home = files("mlbroker.broker.tuning")
    sources = {name: home.joinpath(name).read_bytes() for name in ("batch.py", "work.py")}
    return {
        f"{_PROGRAM}/lane/{name}": text for name, text in {"__init__.py": b"", **sources}.items()
    }


def next_wave(
    writer: Writer,
    proposals: Proposals,
    lanes: int,
    paid_s: float,
    anew: bool,
    per_lane: int = PER_LANE,
) -> list[list[Task]]:
    """A batch for each lane, while `alone`; in the record as work of nobody yet.

    `paid_s` are the seconds that the budget pays for. Fewer batches than lanes where there is less
    to do, none where nothing can be paid for.
    """
    state, left_s = writer.state, paid_s
    found: list[tuple[int, Task]] = []
    while len(found) < lanes * per_lane:
        step = next_step(state, proposals, None, left_s, anew)
        if step is None:
            break
        number = step.trial
        if number is None:
            point = proposals.ask()
            if point is None:
                continue
            number = len(state.trials)
            writer.add(kind="trial", trial=number, point=point, grace=step.until)
        mine = state.trials[number]
        steps = step.until - (0 if anew else mine.trial.reached)
        known = [each.step_s for each in state.trials if each.step_s is not None]
        mean_s = sum(known) / len(known) if known else 0.0
        left_s -= steps * (mine.step_s or mean_s)
        writer.add(kind="works", trial=number, until=step.until, run="")
        found.append((steps, Task(number, step.until)))
    batches: list[list[Task]] = [[] for _ in range(min(lanes, len(found)))]
    loads = [0] * len(batches)
    for steps, task in sorted(found, key=lambda each: -each[0]):
        lightest = loads.index(min(loads))
        loads[lightest] += steps
        batches[lightest].append(task)
    return batches


def batch_body(terms: dict[str, Any], state: StudyState, batch: Sequence[Task]) -> str:
    """What the lane is told, as one variable."""
    tasks = [
        {"trial": task.trial, "until": task.until, "env": variables(state.trials[task.trial].point)}
        for task in batch
    ]
    told = {name: terms[name] for name in ("command", "checkpoint")}
    study = state.study
    return json.dumps({**told, "most": study.most, "regex": study.regex, "tasks": tasks})


def hand_over(
    folder: StudyFolder, writer: Writer, run_id: str, batch: Sequence[Task], archive: Path
) -> None:
    """The batch is that run's from now on, and the trials' pauses go along as its checkpoint."""
    with writer.alone():
        writer.add(kind="run", run=run_id, round=run_id)
        for task in batch:
            writer.add(kind="works", trial=task.trial, until=task.until, run=run_id)
    out = folder.lane(run_id) / "out"
    private_folder(str(out))
    for task in batch:
        if folder.checkpoint(task.trial).exists():
            shutil.copytree(folder.checkpoint(task.trial), out / str(task.trial), symlinks=True)
    if any(out.iterdir()):
        with open(archive, "wb") as stream:
            pack(str(out), stream, links=True)
    shutil.rmtree(out)


def collect(folder: StudyFolder, writer: Writer, run_id: str, archive: Path) -> list[Stretch]:
    """Take in what a run that is settled came to, while `alone`; the trials that it brought.

    What is not whole there is lost, and waits at its last pause.
    """
    waiting = {n for n, mine in enumerate(writer.state.trials) if mine.lane == run_id}
    arrived = folder.lane(run_id) / "arrived"
    shutil.rmtree(arrived, ignore_errors=True)
    private_folder(str(arrived))
    brought: list[Stretch] = []
    anew = folder.terms()["checkpoint"] is None
    for line in _results(archive, arrived) if waiting else ():
        number = line.get("trial")
        if number not in waiting or not _is_result(line, writer.state, number):
            continue
        Checkpoints(folder, run_id, arrived / str(number), 1).keep(number)
        for at, value in line["metrics"]:
            writer.add(kind="metric", trial=number, at=at, value=value)
        seconds = float(line["seconds"])
        before = 0 if anew else writer.state.trials[number].trial.reached
        ended = ending(writer.state, number, line["until"], line["code"], seconds)
        made = max(writer.state.trials[number].metrics, default=0) - before
        brought.append(Stretch(made if ended["kind"] == "worked" else 0, seconds))
        writer.add(**ended)
        waiting.discard(number)
    for number in sorted(waiting):
        writer.add(kind="lost", trial=number)
    shutil.rmtree(arrived, ignore_errors=True)
    return brought


def _results(archive: Path, arrived: Path) -> list[dict[str, Any]]:
    if not archive.exists():
        return []
    try:
        with open(archive, "rb") as stream:
            unpack(stream, str(arrived), links=True)
        found = results(str(arrived))
    except (BadArchive, OSError, ValueError):
        return []
    return [line for line in found if isinstance(line, dict)]


def _is_result(line: dict[str, Any], state: StudyState, number: int) -> bool:
    """Whether a machine's word is of the shape that it has to have."""
    code, seconds, metrics = line.get("code"), line.get("seconds"), line.get("metrics")
    return (
        line.get("until") == state.trials[number].working_until
        and (code is None or type(code) is int)
        and isinstance(seconds, int | float)
        and 0 <= seconds < float("inf")
        and isinstance(metrics, list)
        and all(
            isinstance(each, list)
            and len(each) == 2
            and type(each[0]) is int
            and each[0] >= 1
            and (each[1] is None or (type(each[1]) in (int, float) and abs(each[1]) < float("inf")))
            for each in metrics
        )
    )
