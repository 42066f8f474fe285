from dataclasses import replace

import numpy as np
import pytest
from tests.support.synthetic_tables import synthetic_rows

from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.strategies import STRATEGIES
from mlbroker.broker.backtest.table import Table, understand
from mlbroker.broker.backtest.trials import Setting, Trial, bootstrap, play, summary

TABLE = understand(synthetic_rows(families=5), "t", print)
LIBRARY = Library(TABLE)


def played(table: Table = TABLE, library: Library = LIBRARY, **options: object) -> list[Trial]:
    return play(table, library, Setting(**options))  # type: ignore[arg-type]


def choices(trials: list[Trial]) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(trial.job, trial.chosen, trial.probes) for trial in trials]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("with_history", [True, False])
@pytest.mark.parametrize("deadline_factor", [None, 1.5])
def test_every_strategy_plays_every_setting(
    strategy: str, with_history: bool, deadline_factor: float | None
) -> None:
    trials = played(
        strategy=strategy,
        with_history=with_history,
        deadline_factor=deadline_factor,
        job_hours=8.0,
    )
    assert [trial.job for trial in trials] == [job.name for job in TABLE.jobs]
    for trial in trials:
        assert trial.best in TABLE.configs
        assert trial.all_in_ratio >= trial.cost_ratio > 0
        assert len(set(trial.probes)) == len(trial.probes)
        if deadline_factor is None:
            assert trial.cost_ratio >= 1


def test_same_seed_same_choices() -> None:
    for strategy in ("auto", "random-3"):
        first = choices(played(strategy=strategy, seed=3, repeats=2))
        assert first == choices(played(strategy=strategy, seed=3, repeats=2))
    assert choices(played(strategy="random-3", seed=4)) != choices(
        played(strategy="random-3", seed=5)
    )


def test_repeats_give_an_entry_each() -> None:
    assert len(played(strategy="random-3", repeats=3)) == 3 * len(TABLE.jobs)


def test_one_job_alone_is_played_as_among_all() -> None:
    name = TABLE.jobs[3].name
    (alone,) = choices(played(only=name))
    assert alone in choices(played())


@pytest.mark.parametrize("strategy", ["auto", "random-3", "best-fixed", "fastest"])
@pytest.mark.parametrize("deadline_factor", [None, 1.5])
def test_what_was_not_paid_for_is_not_known(strategy: str, deadline_factor: float | None) -> None:
    """Exchange every time the chooser never saw: it must not have chosen otherwise."""
    rng = np.random.default_rng(0)
    for place, job in enumerate(TABLE.jobs):
        (before,) = played(strategy=strategy, only=job.name, deadline_factor=deadline_factor)
        names = [TABLE.configs[row] for row in job.rows.tolist()]
        # The fastest is kept, as the deadline is public and made of it.
        kept = {*before.probes, names[int(np.where(job.worked, job.time_s, np.inf).argmin())]}
        unseen = [i for i, name in enumerate(names) if name not in kept and job.worked[i]]
        times = job.time_s.copy()
        times[unseen] = rng.permutation(times[unseen]) * rng.uniform(1, 3)
        jobs = list(TABLE.jobs)
        jobs[place] = replace(job, time_s=times)
        changed = replace(TABLE, jobs=tuple(jobs))
        (after,) = play(
            changed,
            Library(changed),
            Setting(strategy, only=job.name, deadline_factor=deadline_factor),
        )
        assert choices([after]) == choices([before])


def test_nobody_is_told_how_long_the_job_is() -> None:
    """The first probe is chosen before anything is paid: it cannot depend on --job-hours."""
    for hours in (1.0, 1000.0):
        first = [trial.probes[:1] for trial in played(job_hours=hours)]
        assert first == [trial.probes[:1] for trial in played(job_hours=8.0)]


def test_sister_jobs_do_not_help() -> None:
    """A job's choice is the same whatever its sister did."""
    job = TABLE.jobs[0]
    sisters = [other for other in TABLE.jobs if other.family == job.family and other is not job]
    jobs = [
        replace(other, time_s=other.time_s[::-1].copy()) if other in sisters else other
        for other in TABLE.jobs
    ]
    changed = replace(TABLE, jobs=tuple(jobs))
    after = play(changed, Library(changed), Setting(only=job.name))
    assert choices(after) == choices(played(only=job.name))


def test_it_beats_what_people_do() -> None:
    own = summary(played(job_hours=8.0))
    for strategy in ("random-3", "fastest", "all-probed"):
        assert (
            own["all_in_ratio"] < summary(played(strategy=strategy, job_hours=8.0))["all_in_ratio"]
        )
    assert own["all_in_ratio"] < 1.6
    assert own["interval80_coverage"] > 0.6


def test_past_jobs_help() -> None:
    known = summary(played(job_hours=8.0))["all_in_ratio"]
    assert known < summary(played(job_hours=8.0, with_history=False))["all_in_ratio"]


def test_bootstrap_brackets_the_mean() -> None:
    low, high = bootstrap([1.0, 1.2, 1.4, 1.6], ["a", "a", "b", "c"])
    assert low < 1.3 < high
    assert bootstrap([2.0, 2.0], ["a", "b"]) == (2.0, 2.0)
