"""Plays a strategy on the jobs of a table, and sums up."""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlbroker.broker.backtest.bench import Bench, Score, deadline_s, score
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
    score: Score
    probes: tuple[str, ...]
    probing_cost_usd: float
    median_ape: float | None
    interval80_coverage: float | None
    decision_s: tuple[float, ...]


def play(
    table: Table,
    library: Library,
    setting: Setting,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Trial]:
    """All trials, jobs in the table's order."""
    jobs = [job for job in table.jobs if setting.only in (None, job.name)]
    trials = []
    for number, job in enumerate(jobs):
        for repeat in range(setting.repeats):
            trials.append(_trial(table, library, setting, job, repeat))
        progress(number + 1, len(jobs))
    return trials


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
        score=result,
        probes=tuple(name(candidate) for candidate in bench.probed),
        probing_cost_usd=bench.spent_usd,
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


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


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
