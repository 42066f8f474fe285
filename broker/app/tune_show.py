"""What a study's lanes are at, and what is still to come of it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from mlbroker.broker.ledger import Run
from mlbroker.broker.tuning.record import StudyState
from mlbroker.broker.words import exact_usd
from mlbroker.policies.tuning.lanes import Work
from mlbroker.pricing.billing import MICRO_USD


def lane_of(run: Run, found: StudyState) -> dict[str, Any]:
    """One lane; `trial` and `until` are what it works on now, None where it is at nothing."""
    busy = (n for n, mine in enumerate(found.trials) if mine.lane == run.run_id)
    trial = None if run.settled else next(busy, None)
    return {
        "run": run.run_id,
        "job": run.job,
        "state": run.outcome or str(run.state),
        "trial": trial,
        "until": None if trial is None else found.trials[trial].working_until,
        "spent_usd": exact_usd(run.spent_usd),
        "cap_usd": exact_usd(run.cap_usd),
    }


def work_left(found: StudyState) -> Work:
    """What is to be done of the study, with a step's time as its trials had it in the mean."""
    done = sum(each.paid_steps for each in found.trials)
    step_s = found.spent_s / done if done else None
    return Work(found.study.trials, found.study.most, step_s, done_steps=done)


def forecast(found: StudyState, runs: Sequence[Run]) -> dict[str, Any] | None:
    """A guess, by the mean work of a trial: seconds of work that are left, what they cost, and
    when the lanes that are at work are through, None where none is.

    None where the study is over, goes on as long as the money lasts, or nothing was measured.
    """
    work = work_left(found)
    tried = [run for run in runs if run.attempts]
    if found.ended is not None or work.steps is None or work.step_s is None or not tried:
        return None
    left_s = work.steps * work.step_s
    last = tried[-1].attempts[-1]
    usd = last.price_per_hour_usd * last.nodes * Decimal(left_s) / 3600
    open_lanes = sum(not run.settled for run in runs)
    return {
        "work_s": round(left_s, 3),
        "usd": exact_usd(usd.quantize(MICRO_USD)),
        "done_in_s": round(left_s / open_lanes, 3) if open_lanes else None,
    }
