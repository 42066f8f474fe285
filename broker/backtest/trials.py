"""Plays a strategy on the jobs of a table, sums up, and puts it into a document."""

import statistics
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlbroker.broker.backtest.bench import Bench, deadline_s, score
from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.strategies import STRATEGIES, Choice
from mlbroker.broker.backtest.table import Table, TrueJob
from mlbroker.profiles.prediction import Z90

Z80 = Z90  # an 80 % interval ends at the 10th and the 90th percentile


@dataclass(frozen=True, slots=True)
class Setting:
    """How the game is played. `job_hours` None leaves times as given."""

    strategy: str = "auto"
    job_hours: float | None = None
    deadline_factor: float | None = None
    setup_s: float = 60.0
    with_history: bool = True
    seed: int = 0
    repeats: int = 1
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One job played once. Predictions are judged on the working candidates never probed."""

    job: str
    chosen: str | None
    best: str
    cost_ratio: float
    all_in_ratio: float
    probes: tuple[str, ...]
    probing_cost_usd: float
    deadline_met: bool
    median_ape: float | None
    interval80_coverage: float | None
    decision_s: tuple[float, ...]


def play(table: Table, library: Library, setting: Setting) -> list[Trial]:
    """All trials, jobs in the table's order."""
    return [
        _trial(table, library, setting, job, repeat)
        for job in table.jobs
        if setting.only in (None, job.name)
        for repeat in range(setting.repeats)
    ]


def _trial(table: Table, library: Library, setting: Setting, job: TrueJob, repeat: int) -> Trial:
    # A generator for each trial: what one job draws must not change what another sees.
    rng = np.random.default_rng([setting.seed, repeat, zlib.crc32(job.name.encode())])
    true = job if setting.job_hours is None else job.scaled(setting.job_hours)
    limit = deadline_s(true, setting.deadline_factor, setting.setup_s)
    bench = Bench(true, setting.setup_s, limit)
    past = library.for_job(job, setting.with_history)
    choice = STRATEGIES[setting.strategy](bench, past, rng)
    result = score(true, bench, choice.chosen)
    ape, coverage = _judged(true, bench, choice)

    def name(candidate: int) -> str:
        return table.configs[int(true.rows[candidate])]

    return Trial(
        job=job.name,
        chosen=None if choice.chosen is None else name(choice.chosen),
        best=name(result.best),
        cost_ratio=result.cost_ratio,
        all_in_ratio=result.all_in_ratio,
        probes=tuple(name(candidate) for candidate in bench.probed),
        probing_cost_usd=bench.spent_usd,
        deadline_met=result.deadline_met,
        median_ape=ape,
        interval80_coverage=coverage,
        decision_s=choice.decision_s,
    )


def _judged(job: TrueJob, bench: Bench, choice: Choice) -> tuple[float | None, float | None]:
    if choice.mean is None or choice.variance is None:
        return None, None
    unseen = job.worked.copy()
    unseen[bench.probed] = False
    if not unseen.any():
        return None, None
    error = choice.mean[unseen] - np.log(job.time_s[unseen])
    inside = np.abs(error) <= Z80 * np.sqrt(choice.variance[unseen])
    ape = np.abs(np.expm1(np.minimum(error, 700.0)))
    return float(np.median(ape)), float(inside.mean())


def bootstrap(
    values: Sequence[float], families: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """80 % interval of the mean over jobs, drawn by family: sister jobs are no independent news."""
    rng = np.random.default_rng(seed)
    names = sorted(set(families))
    sums = np.array(
        [sum(v for v, f in zip(values, families, strict=True) if f == n) for n in names]
    )
    sizes = np.array([sum(f == n for f in families) for n in names])
    drawn = rng.integers(len(names), size=(2000, len(names)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [0.1, 0.9])
    return float(low), float(high)


def document(table: str, setting: Setting, trials: Sequence[Trial]) -> dict[str, Any]:
    """The document; its schema is `mlbroker schema backtest`."""
    return {
        "schema": "mlbroker.backtest/1",
        "table": table,
        "strategy": setting.strategy,
        "history": "group-out" if setting.with_history else "none",
        "job_hours": setting.job_hours,
        "deadline_factor": setting.deadline_factor,
        "setup_s": setting.setup_s,
        "seed": setting.seed,
        "jobs": [
            {name: value for name, value in asdict(trial).items() if name != "decision_s"}
            for trial in trials
        ],
        "summary": summary(trials),
    }


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Means over all trials; of the error the median. What no trial has is null."""
    probes = sorted(len(trial.probes) for trial in trials)
    spans = [span for trial in trials for span in trial.decision_s]
    errors = [trial.median_ape for trial in trials if trial.median_ape is not None]
    held = [t.interval80_coverage for t in trials if t.interval80_coverage is not None]
    return {
        "cost_ratio": statistics.fmean(trial.cost_ratio for trial in trials),
        "all_in_ratio": statistics.fmean(trial.all_in_ratio for trial in trials),
        "probes": {
            "mean": statistics.fmean(probes),
            "median": statistics.median(probes),
            "p90": probes[min(len(probes) - 1, int(0.9 * len(probes)))],
        },
        "deadline_miss_rate": statistics.fmean(not trial.deadline_met for trial in trials),
        "median_ape": statistics.median(errors) if errors else None,
        "interval80_coverage": statistics.fmean(held) if held else None,
        "seconds_per_decision": statistics.fmean(spans) if spans else None,
    }
