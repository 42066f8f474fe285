"""A study of many trials as one run after another: begun, carried on, and looked at."""

import math
import os
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.run import RunRequest
from mlbroker.broker.app.tune_budget import refuse_too_little, rest_of_best_s, whole_trial_s
from mlbroker.broker.app.tune_lanes import LanePlan, plan_lanes, refuse_open_lanes
from mlbroker.broker.app.tune_show import forecast, lane_of
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.tuning.proposals import best_points
from mlbroker.broker.tuning.record import StudyFolder, StudyState, study_body, study_of
from mlbroker.broker.tuning.searchers import SEARCHERS
from mlbroker.broker.words import exact_usd
from mlbroker.policies.tuning.budget import best_trial
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job
from mlbroker.profiles.search_space import Study, variables

# What may be another when a study goes on.
_FREE: dict[str, Any] = {"trials": None, "lanes": None}


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """A study to begin or, where `resumes`, to carry on. `run` is the request of its runs, with
    the job as its file has it. Without a `new_cap` what is left of the last one is.
    """

    run: RunRequest
    name: str
    searcher: str = "auto"
    seed: int = 0
    patience: int | None = None
    resumes: bool = False
    new_cap: bool = True


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """What is about to be done. Nothing is reserved, and nothing of the study is written yet."""

    folder: StudyFolder
    terms: dict[str, Any]
    plan: LanePlan
    resumes: bool
    request: RunRequest
    whole_s: float | None  # of a whole trial, set-up left out; None: not known yet

    def begin(self, state: Path) -> None:
        """Lay a new study down, before its runs are reserved; refused where another client was
        quicker.
        """
        if self.resumes:
            refuse_open_lanes(self.folder, state)
        else:
            refuse_taken(self.folder)
            self.folder.begin(state, self.terms)


def prepare_study(request: StudyRequest, state: Path, listener: Listener) -> PreparedStudy:
    """Check the study, and find its machine and what that may cost at most."""
    job = request.run.job
    study = job.study
    if study is None:
        hint = "Add the metric, the space and the resource: docs/tuning.md"
        raise InputError("has no `tune:` in its broker block", where=str(request.run.job_path),
                         hint=hint)  # fmt: skip
    if request.run.on not in (None, LOCAL):
        hint = "--on local, or --cloud NAME"
        raise InputError("a study runs on this machine or on rented ones", where="--on", hint=hint)
    folder = StudyFolder.of(state, request.name)
    terms = folder.terms() if request.resumes else _terms(request, study)
    if request.resumes:
        _refuse_another(terms, job, request)
        refuse_open_lanes(folder, state)
    else:
        refuse_taken(folder)
        _refuse_used_checkpoint(job, request)
        for name in study.start_from:
            best_points(folder, name, study)
    plan = plan_lanes(request.run, folder, terms, state, listener, new_cap=request.new_cap)
    whole_s = None
    if request.run.on is None:
        quoted = plan.lanes[0].expected.command_s
        whole_s = quoted and quoted[1]
    elif request.resumes:
        refuse_too_little(plan, rest_of_best_s(folder), state, "the rest of the best trial")
    else:
        whole_s = whole_trial_s(job, plan.lanes[0], state, listener)
        refuse_too_little(plan, whole_s, state, "one whole trial")
    return PreparedStudy(folder, terms, plan, request.resumes, request.run, whole_s)


def next_plan(study: PreparedStudy, state: Path, listener: Listener) -> LanePlan:
    """What the next wave of a study on rented machines may cost, and where."""
    return plan_lanes(study.request, study.folder, study.terms, state, listener, new_cap=False)


def _terms(request: StudyRequest, study: Study) -> dict[str, Any]:
    job = request.run.job
    searcher = request.searcher
    if searcher != "auto" and searcher not in SEARCHERS:
        raise InputError(f"there is no searcher {quoted(searcher)}", where="--searcher",
                         hint=nearest_hint(searcher, ["auto", *SEARCHERS]))  # fmt: skip
    if searcher == "auto":
        searcher = "tpe" if find_spec("optuna") is not None else "random"
    SEARCHERS[searcher](study.space, request.seed)  # what it needs must be installed
    return {
        "name": request.name,
        "id": token_hex(4),
        "job_path": str(request.run.job_path.absolute()),
        "fingerprint": job.fingerprint(),
        "command": job.command,
        "workdir": job.workdir or str(request.run.job_path.absolute().parent),
        "checkpoint": job.checkpoint.path if job.checkpoint else None,
        "study": study_body(study),
        "searcher": searcher,
        "seed": request.seed,
        "patience": request.patience,
        "place": None if request.run.on == LOCAL else request.run.filters._asdict(),
    }


def _refuse_another(terms: dict[str, Any], job: Job, request: StudyRequest) -> None:
    """What the trials so far have told holds for the same job and space alone."""
    assert job.study is not None
    begun = study_of(terms["study"])._replace(**_FREE)
    if begun != job.study._replace(**_FREE) or terms["fingerprint"] != job.fingerprint():
        raise InputError(
            f"the job is not what study {request.name} began with",
            where=str(request.run.job_path),
            hint="Begin another: mlbroker tune JOB --name NAME",
        )


def refuse_taken(folder: StudyFolder) -> None:
    """A name is of one study."""
    name = folder.path.name
    if folder.exists:
        raise InputError(
            f"there is a study {name}",
            hint=f"Carry it on: mlbroker tune resume {name}; or begin another: --name NAME",
        )


def _refuse_used_checkpoint(job: Job, request: StudyRequest) -> None:
    if job.checkpoint is None:
        return
    home = Path(job.workdir or request.run.job_path.absolute().parent)
    path = home / job.checkpoint.path
    if path.is_dir() and any(os.scandir(path)):
        raise InputError(
            "has something in it, which the first trial would go on from",
            where=str(path),
            hint="Move it away: each trial begins with an empty checkpoint folder.",
        )


def studies(state: Path) -> list[str]:
    """Names of the studies of this state folder."""
    home = state / "studies"
    return sorted(path.name for path in home.iterdir()) if home.is_dir() else []


def shown(state: Path, name: str) -> dict[str, Any]:
    """The document of `mlbroker tune show --json`."""
    folder = StudyFolder.of(state, name)
    terms, found = folder.terms(), folder.load()
    study, trials = found.study, found.trials
    ledger = open_ledger(state)
    known = folder.runs(found.runs)
    runs = [run for each in known if (run := ledger.run(each)) is not None]
    reached = Counter(each.trial.reached for each in trials if not each.failed)
    return {
        "schema": "mlbroker.tune/1",
        "study": name,
        "metric": study.metric,
        "goal": "maximize" if study.more_is_better else "minimize",
        "resource": study.resource,
        "most": study.most,
        "searcher": terms["searcher"],
        "ended": found.ended,
        "running": any(not run.settled for run in runs),
        "trials": len(trials),
        "failed": sum(each.failed is not None for each in trials),
        "reached": {str(step): reached[step] for step in sorted(reached)},
        "spent_s": round(found.spent_s, 3),
        "spent_usd": exact_usd(sum((run.spent_usd for run in runs), Decimal(0))),
        "runs": known,
        "best": _best(found),
        "curve": [
            {"spent_s": round(spent_s, 3), "metric": study.as_told(score)}
            for spent_s, score in found.curve
        ],
        "doubt": _doubt(found),
        "lanes": [lane_of(run, found) for run in runs],
        "forecast": forecast(found, runs),
    }


def _best(found: StudyState) -> dict[str, Any] | None:
    number = best_trial([each.trial for each in found.trials])
    if number is None:
        return None
    mine = found.trials[number]
    best = mine.trial.best
    return {
        "trial": number,
        "metric": found.study.as_told(mine.trial.score),
        "at": best.index(best[-1]) + 1,
        "reached": mine.trial.reached,
        "env": variables(mine.point),
    }


def _doubt(found: StudyState) -> str | None:
    """What looks as if it was not meant."""
    told = [each for each in found.trials if not each.failed and len(each.trial.best) > 1]
    values = {v for each in told for v in each.metrics.values() if not math.isnan(v)}
    if told and not values:
        return f"{found.study.metric} was never a number"
    if len(told) > 2 and len(values) == 1:
        return "the metric is one and the same everywhere"
    rising = [each for each in told if each.trial.best[-1] > each.trial.best[0]]
    if len(told) > 2 and not rising:
        return "no trial became better than after its first step: is the goal right?"
    return None
