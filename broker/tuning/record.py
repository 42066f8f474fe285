"""A study's record: a folder of its own below the state folder, with a file that only grows.

Each line of `results.jsonl` is on the disk before anything rests on it, and all lanes of the study
write there (see `writer`). What a process that was killed left of its last line is cut off by the
next one; a step that was told twice, because the lane died before its work was done, counts once.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.guest.box import private_folder, write_json
from mlbroker.broker.home import private_home
from mlbroker.policies.tuning.interface import FAILED, Trial
from mlbroker.profiles.search_space import Choice, Point, Range, Space, Study

SCHEMA = "mlbroker.study/1"


@dataclass(slots=True)
class TrialRecord:
    """One trial; `metrics` by step as the job told them.

    `working_until` is what was begun and not ended yet: by `lane`, or, if None, by one that died,
    as did `losses` lanes since the trial was last paused.
    """

    point: Point
    trial: Trial
    metrics: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    paid_steps: int = 0
    failed: str | None = None
    working_until: int | None = None
    lane: str | None = None
    losses: int = 0

    @property
    def step_s(self) -> float | None:
        """Seconds a step, start-up included; None: not measured."""
        return self.seconds / self.paid_steps if self.paid_steps else None


class StudyFolder:
    """A study by its name; `terms` is what it was begun with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, state: Path, name: str) -> Self:
        """The folder of this name, whether there is one or not."""
        return cls(state / "studies" / name)

    @property
    def exists(self) -> bool:
        """Whether the study was begun."""
        return self._terms.exists()

    @property
    def _terms(self) -> Path:
        return self.path / "study.json"

    @property
    def results(self) -> Path:
        """The file that grows."""
        return self.path / "results.jsonl"

    def checkpoint(self, trial: int) -> Path:
        """Where the checkpoint of a paused trial lies."""
        return self.path / "trials" / str(trial)

    def lane(self, run_id: str) -> Path:
        """What the lane of this run keeps for itself."""
        return self.path / "lanes" / run_id

    def runs(self, known: Sequence[str]) -> list[str]:
        """All runs that were reserved for it, by time; those that are `known` among them."""
        home = self.path / "lanes"
        return sorted({*known, *(os.listdir(home) if home.is_dir() else ())})

    def begin(self, state: Path, terms: Mapping[str, Any]) -> None:
        """Lay the study down."""
        private_home(state)
        private_folder(str(self.path))
        write_json(str(self.path), self._terms.name, {"schema": SCHEMA, **terms})

    def terms(self) -> dict[str, Any]:
        """What the study was begun with; InputError where there is none, or none of ours."""
        if not self.exists:
            hint = "`mlbroker tune JOB` begins one"
            raise InputError(f"there is no study {self.path.name!r}", hint=hint)
        try:
            terms: dict[str, Any] = json.loads(self._terms.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise MlbrokerError(f"cannot be read: {error}", where=str(self._terms)) from None
        if terms.get("schema") != SCHEMA:
            raise MlbrokerError("is of another version of mlbroker", where=str(self._terms))
        return terms

    def terms_study(self) -> Study:
        """What is studied."""
        return study_of(self.terms()["study"])

    def load(self) -> "StudyState":
        """What the record says now; a line that is not whole yet is left out."""
        state = StudyState(self.terms_study())
        if self.results.exists():
            for line in self.results.read_bytes().split(b"\n")[:-1]:
                state.take(json.loads(line))
        return state


class StudyState:
    """The trials of a study as its record has them."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.trials: list[TrialRecord] = []
        self.ended: str | None = None
        self.runs: list[str] = []
        self.round: str | None = None  # lanes that were begun together
        self.stale_steps = 0  # that were paid for since the best was last bettered
        self.curve: list[tuple[float, float]] = []  # seconds spent, the best score then

    def take(self, line: Mapping[str, Any]) -> None:
        """One line of the record."""
        kind = line["kind"]
        if kind == "run":
            self.runs.append(line["run"])
            # One that comes late to what its like have ended finds it so.
            if line.get("round") is None or line["round"] != self.round:
                self.ended = None
            self.round = line.get("round")
        elif kind == "trial":
            self.trials.append(TrialRecord(line["point"], Trial(line["grace"])))
        elif kind == "ended":
            self.ended = line["why"]
        else:
            self._of_trial(kind, line, self.trials[line["trial"]])

    def _of_trial(self, kind: str, line: Mapping[str, Any], mine: TrialRecord) -> None:
        if kind == "works":
            mine.working_until = line["until"]
            mine.lane = line.get("run", "")
            mine.trial.busy = True
        elif kind in ("lost", "stopped"):
            mine.lane, mine.trial.busy = None, False
            mine.losses += kind == "lost"
        elif kind == "metric":
            value = line["value"]
            mine.metrics.setdefault(line["at"], math.nan if value is None else value)
        elif kind in ("worked", "failed"):
            steps = range(mine.trial.reached + 1, line["until"] + 1)
            mine.seconds += line["seconds"]
            mine.paid_steps += len(steps)
            mine.working_until = mine.lane = None
            mine.trial.busy, mine.losses = False, 0
            mine.failed = line.get("why")
            self._count(mine, steps)

    def _count(self, mine: TrialRecord, steps: range) -> None:
        """Take in what the steps showed, and whether the study is the better for it.

        A trial that failed is the worst there is, and is never carried on.
        """
        before = max((each.trial.score for each in self.trials), default=FAILED)
        if mine.failed is not None:
            mine.trial.best = [FAILED] * self.study.most
        else:
            sign = 1.0 if self.study.more_is_better else -1.0
            mine.trial.report([sign * mine.metrics.get(step, math.nan) for step in steps])
        better = mine.trial.score > before
        self.stale_steps = 0 if better else self.stale_steps + len(steps)
        if better:
            self.curve.append((self.spent_s, mine.trial.score))

    @property
    def spent_s(self) -> float:
        """Seconds of all work that was ended."""
        return sum(each.seconds for each in self.trials)


def study_body(study: Study) -> dict[str, Any]:
    """A study as JSON."""
    space = {
        name: {"values": list(part.values)} if isinstance(part, Choice) else part._asdict()
        for name, part in study.space.items()
    }
    return {**study._asdict(), "space": space, "start_from": list(study.start_from)}


def study_of(body: Mapping[str, Any]) -> Study:
    """The study that `study_body` wrote."""
    space: Space = {
        name: Choice(tuple(part["values"])) if "values" in part else Range(**part)
        for name, part in body["space"].items()
    }
    return Study(**{**body, "space": space, "start_from": tuple(body["start_from"])})
