"""What was done of a pipeline, as the facts that open its stages' runs tell it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from mlbroker.broker.errors import InputError
from mlbroker.broker.guest.box import OUTPUTS
from mlbroker.broker.ledger import LAST, PIPELINE, Run, Share, share_in
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import new_run_id

# What ids of pipelines begin with; those of runs begin with their year.
PREFIX = "pl-"
# In the fact that opens a run, beside its share.
STAGE = "stage"


class StageFact(NamedTuple):
    """What a stage's run is of. `definition` is the hash of what the pipeline's file says of it,
    `digest` of that with its code and inputs; `inputs` has the run of each stage it needs.

    `deadline_at` is the whole pipeline's, in ISO 8601. `again` are the stages that its client was
    told to run though they are unchanged.
    """

    definition: str
    digest: str
    inputs: Mapping[str, str]
    deadline_at: str | None = None
    again: Sequence[str] = ()

    @classmethod
    def of(cls, run: Run) -> Self | None:
        """From the fact that opened the run; None: it is no stage."""
        told = run.details.get(STAGE)
        return None if told is None else cls(**told)

    def body(self) -> dict[str, Any]:
        """As it stands there."""
        return {STAGE: self._asdict()}


@dataclass(frozen=True, slots=True)
class Record:
    """One execution of a pipeline: all runs of its stages, oldest first."""

    pipeline_id: str
    name: str
    runs: tuple[Run, ...]

    @property
    def share(self) -> Share:
        """The cap that its latest run was under."""
        share = share_in(self.runs[-1], PIPELINE)
        assert share is not None, "only runs that have one are in a record"
        return share

    @property
    def deadline_at(self) -> datetime | None:
        """The whole's, as its latest run had it."""
        fact = StageFact.of(self.runs[-1])
        told = fact.deadline_at if fact is not None else None
        return None if told is None else datetime.fromisoformat(told)

    @property
    def again(self) -> set[str]:
        """The stages that its latest client was told to run though they are unchanged."""
        fact = StageFact.of(self.runs[-1])
        return set() if fact is None else set(fact.again)

    @property
    def open_runs(self) -> list[Run]:
        """Those that may still come to cost something."""
        return [run for run in self.runs if not run.settled]

    def latest(self) -> dict[str, Run]:
        """For each stage that has begun its latest run."""
        return {stage_of(run): run for run in self.runs}


def new_pipeline_id(now: datetime) -> str:
    """Sortable by time, unlike any other, and unlike any run's."""
    return PREFIX + new_run_id(now)


def stage_of(run: Run) -> str:
    """The stage's name; of a run that is none its job's."""
    share = share_in(run, PIPELINE)
    return run.job if share is None or share.part is None else share.part


def records(runs: Iterable[Run]) -> list[Record]:
    """All pipelines of these runs, by when they began."""
    found: dict[str, list[Run]] = {}
    names: dict[str, str] = {}
    for run in runs:
        if (share := share_in(run, PIPELINE)) is not None:
            found.setdefault(share.whole_id, []).append(run)
            names[share.whole_id] = share.name
    return [Record(key, names[key], tuple(found[key])) for key in found]


def find(runs: Sequence[Run], wanted: str, name: str | None = None) -> Record:
    """The pipeline a person means: by its id, the beginning of one, or the `last` one; of those
    called `name`, where that is given.
    """
    called = "" if name is None else f" called {name}"
    known = [each for each in records(runs) if name in (None, each.name)]
    if not known:
        raise InputError(f"no pipeline{called} has run here", hint="Leave --resume out.")
    if wanted == LAST:
        return known[-1]
    found = [each for each in known if each.pipeline_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    some = ", ".join(each.pipeline_id for each in (found or known)[-5:])
    what = "is the beginning of several pipelines" if found else f"is no pipeline{called}"
    raise InputError(f"{wanted!r} {what}", hint=f"There are {some}")


def succeeded(run: Run) -> bool:
    """Whether a stage is done: its job succeeded, and what it hands on is at home."""
    if run.outcome != "succeeded":
        return False
    lost = [name for name in run.attempt.missing if name == "all" or name.startswith(OUTPUTS)]
    return not lost


def same_before(runs: Sequence[Run], name: str, stage: str, digest: str, state: Path) -> Run | None:
    """The latest run that did just this, with these inputs, and whose outputs are here."""
    for run in reversed(runs):
        share, fact = share_in(run, PIPELINE), StageFact.of(run)
        if share is None or fact is None or (share.name, share.part) != (name, stage):
            continue
        here = RunFolder.of(state, run.run_id).path.is_dir()
        if fact.digest == digest and here and succeeded(run):
            return run
    return None


def folder_of(state: Path, name: str) -> Path:
    """Where a pipeline of this name keeps what only lives as long as it runs."""
    return state / "pipelines" / re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]


def inputs_folder(state: Path, share: Share) -> Path:
    """Where stages of one execution on this machine find what they are given, each in its own."""
    return folder_of(state, share.name) / share.whole_id / "inputs"


def wish_to_stop(state: Path, share: Share) -> Path:
    """The file that asks whoever leads the execution to end it, where there is one."""
    return folder_of(state, share.name) / share.whole_id / "stop"
