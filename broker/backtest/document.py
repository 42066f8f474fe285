"""The back-test's result as the JSON document `mlbroker.backtest/1`."""

import statistics
from collections.abc import Sequence
from typing import Any

from mlbroker.broker.backtest.trials import Setting, Trial


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
        "jobs": [_job(trial) for trial in trials],
        "summary": summary(trials),
    }


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Means over all trials; of the error the median. What no trial has is null."""
    probes = sorted(len(trial.probes) for trial in trials)
    spans = [span for trial in trials for span in trial.decision_s]
    errors = [trial.median_ape for trial in trials if trial.median_ape is not None]
    held = [t.interval80_coverage for t in trials if t.interval80_coverage is not None]
    return {
        "cost_ratio": statistics.fmean(trial.score.cost_ratio for trial in trials),
        "all_in_ratio": statistics.fmean(trial.score.all_in_ratio for trial in trials),
        "probes": {
            "mean": statistics.fmean(probes),
            "median": statistics.median(probes),
            "p90": probes[min(len(probes) - 1, int(0.9 * len(probes)))],
        },
        "deadline_miss_rate": statistics.fmean(not trial.score.deadline_met for trial in trials),
        "median_ape": statistics.median(errors) if errors else None,
        "interval80_coverage": statistics.fmean(held) if held else None,
        "seconds_per_decision": statistics.fmean(spans) if spans else None,
    }


def _job(trial: Trial) -> dict[str, Any]:
    return {
        "job": trial.job,
        "chosen": trial.chosen,
        "best": trial.best,
        "cost_ratio": trial.score.cost_ratio,
        "all_in_ratio": trial.score.all_in_ratio,
        "probes": list(trial.probes),
        "probing_cost_usd": trial.probing_cost_usd,
        "deadline_met": trial.score.deadline_met,
        "median_ape": trial.median_ape,
        "interval80_coverage": trial.interval80_coverage,
    }
