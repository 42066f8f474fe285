"""Plays a strategy of adaptive training on measured jobs, and puts it into a document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from mlbroker.policies.adapt import STRATEGIES
from mlbroker.policies.adapt.forecast import reference_batch
from mlbroker.policies.adapt.interface import Past, Terms
from mlbroker.policies.adapt.training import Training, candidates, clairvoyant, play
from mlbroker.profiles.noise import PastNoise
from mlbroker.profiles.step_model import Fitted, Space, StepAt, StepModel, Timed


@dataclass(frozen=True, slots=True)
class Setting:
    """How the game is played. `job_hours` None leaves times as measured, `only` None plays all.

    `seed` draws the worlds that beliefs are summed over.
    """

    strategy: str = "auto"
    job_hours: float | None = None
    deadline_factor: float | None = None
    setup_s: float = 60.0
    with_history: bool = True
    seed: int = 0
    only: str | None = None


class Library:
    """What is known of each job once it is past. Fitted once for all settings."""

    def __init__(self, trainings: Sequence[Training], log_speed: Mapping[str, float]) -> None:
        self.log_speed = log_speed
        self._fitted = {one.name: _fitted(one, log_speed) for one in trainings}
        self._noise = {one.name: _past_noise(one) for one in trainings}

    def without(self, name: str) -> Past:
        """The others: a job is never its own past."""
        return Past(
            tuple(fitted for job, fitted in self._fitted.items() if job != name),
            tuple(noise for job, noise in self._noise.items() if job != name),
        )


def terms_of(training: Training, setting: Setting, log_speed: Mapping[str, float]) -> Terms:
    """What is public of a job; the ceiling of its batch is the largest that was trained with."""
    machines = tuple(one.machines for one in training.times)
    most = int(training.batches[-1])
    limit = None
    if setting.deadline_factor is not None:
        limit = setting.deadline_factor * (setting.setup_s + default_s(training))
    return Terms(
        machines=machines,
        candidates=candidates(machines, training.default_batch, most),
        default_batch=training.default_batch,
        most_batch=most,
        default_steps=tuple(training.steps_at(training.default_batch).tolist()),
        setup_s=setting.setup_s,
        restart_s=training.restart_s,
        deadline_s=limit,
        log_speed=log_speed,
    )


def default_s(training: Training) -> float:
    """T0: the work at the default batch on the cheapest machines with one GPU, in seconds."""
    singles = [one for one in training.times if one.machines.layout.gpus == 1]
    times = min(singles, key=lambda one: one.machines.price_per_hour_usd)
    passes = -(-training.default_batch // times.machines.most_local)
    step_s = times.at(training.default_batch / passes, passes - 1)
    return float(training.steps_at(training.default_batch).sum()) * step_s


def play_all(
    trainings: Sequence[Training], library: Library, setting: Setting
) -> list[dict[str, Any]]:
    """One row a job, in the order of the table."""
    return [_played(one, library, setting) for one in trainings if setting.only in (None, one.name)]


def _played(training: Training, library: Library, setting: Setting) -> dict[str, Any]:
    if setting.job_hours is not None:
        training = training.scaled(setting.job_hours * 3600 / default_s(training))
    terms = terms_of(training, setting, library.log_speed)
    best = clairvoyant(training, terms)
    past = library.without(training.name) if setting.with_history else Past()
    done = play(training, terms, past, STRATEGIES[setting.strategy](setting.seed))
    last = terms.candidates[done.last]
    machines = terms.machines[last.machines]
    limit = np.inf if terms.deadline_s is None else terms.deadline_s
    return {
        "job": training.name,
        "all_in_ratio": _rounded(done.all_in_usd / best.cost_usd),
        "cost_ratio": _rounded(done.cost_usd / best.cost_usd),
        "all_in_usd": _rounded(done.all_in_usd),
        "probing_cost_usd": _rounded(done.probing_usd),
        "clairvoyant_usd": _rounded(best.cost_usd),
        "took_s": _rounded(done.took_s),
        "deadline_s": None if terms.deadline_s is None else _rounded(terms.deadline_s),
        "deadline_met": done.took_s <= limit,
        "clairvoyant_in_time": best.took_s <= limit,
        "moves": done.moves,
        "probes": done.probes,
        "final_batch": last.batch,
        "final_machines": {
            "instance_type": machines.instance_type,
            "gpu": machines.layout.gpu,
            "nodes": machines.layout.nodes,
            "gpus": machines.layout.gpus,
        },
        "default_batch": terms.default_batch,
        "max_batch": terms.most_batch,
    }


def document(
    tables: tuple[str, str], setting: Setting, jobs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The document; its schema is `mlbroker schema goodput-backtest`."""
    return {
        "schema": "mlbroker.goodput-backtest/1",
        "steps": tables[0],
        "epochs": tables[1],
        "strategy": setting.strategy,
        "history": "group-out" if setting.with_history else "none",
        "job_hours": setting.job_hours,
        "deadline_factor": setting.deadline_factor,
        "setup_s": setting.setup_s,
        "seed": setting.seed,
        "jobs": list(jobs),
        "summary": {
            "all_in_ratio": fmean(job["all_in_ratio"] for job in jobs),
            "cost_ratio": fmean(job["cost_ratio"] for job in jobs),
            "deadline_miss_rate": fmean(not job["deadline_met"] for job in jobs),
            "moves": fmean(job["moves"] for job in jobs),
            "probes": fmean(job["probes"] for job in jobs),
        },
    }


def _fitted(training: Training, log_speed: Mapping[str, float]) -> Fitted:
    machines = [one.machines for one in training.times]
    rows = [
        Timed(StepAt(one.machines.layout, local), one.at(local), one.compute_s(local))
        for one in training.times
        for local in one.local_batch.tolist()
    ]
    layouts = tuple(sorted({one.layout for one in machines}))
    space = Space(layouts, reference_batch(machines), log_speed)
    return StepModel(space).fit(rows).as_past(rows)


def _past_noise(training: Training) -> PastNoise:
    work = training.steps_at(training.default_batch)
    middle = (np.cumsum(work) - work / 2) / work.sum()
    default = training.default_batch
    doublings = np.log2(training.batches / default)
    return PastNoise(middle, doublings, np.log(training.noise / default))


def _rounded(number: float) -> float:
    """To the digits that matter."""
    return float(f"{number:.6g}")
