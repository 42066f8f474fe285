"""A trace's jobs under each queue policy, and what that comes to."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.replay import Ended, Site, TrueJob, play

Document = dict[str, Any]


def places_for(jobs: Sequence[TrueJob], load: float, span_h: float) -> int:
    """Places that are busy for the share `load`: eights, and at least the largest gang up to 64."""
    area_h = sum(job.places * job.duration_s for job in jobs) / 3600
    largest = max(job.places for job in jobs)
    return max(8 * round(area_h / span_h / load / 8), min(largest, 64), 1)


def span_h(jobs: Sequence[TrueJob], days: tuple[float, float] | None) -> float:
    """Hours of the days, or from the first submission to the last; at least one."""
    if days is not None:
        return 24 * (days[1] - days[0])
    submits = [job.submit_s for job in jobs]
    return max((max(submits) - min(submits)) / 3600, 1.0)


def compare(jobs: Sequence[TrueJob], site: Site, policies: Sequence[str]) -> Document:
    """`summary` by policy, and `teams` by policy and team."""
    summary, teams = {}, []
    for name in policies:
        ended = play(jobs, site, POLICIES[name]())
        summary[name] = {
            **_figures(ended),
            "utilisation": _rounded(_utilisation(ended, site.places)),
            "preemptions_per_job": _rounded(fmean(each.preemptions for each in ended)),
            "refused": sum(each.finish_s is None for each in ended),
        }
        for team in sorted({job.team for job in jobs}):
            mine = [each for each in ended if each.job.team == team]
            gpu_h = sum(_busy_h(each) for each in mine)
            teams.append(
                {
                    "policy": name,
                    "team": team,
                    "jobs": len(mine),
                    **_figures(mine),
                    "gpu_h": _rounded(gpu_h),
                }
            )
    return {"summary": summary, "teams": teams}


def _figures(ended: Sequence[Ended]) -> Document:
    """Waits are of jobs that ran; a job that never did has missed its deadline."""
    waits = [each.wait_h for each in ended if each.finish_s is not None]
    hits = [_hit(each) for each in ended if each.job.deadline_s is not None]
    waiting_usd = sum(
        each.wait_h * each.job.value_usd_per_h for each in ended if each.finish_s is not None
    )
    return {
        "mean_wait_h": _rounded(fmean(waits)) if waits else None,
        "p99_wait_h": _rounded(float(np.quantile(waits, 0.99))) if waits else None,
        "deadline_hit_rate": _rounded(fmean(hits)) if hits else None,
        "cloud_usd": round(sum(each.cloud_usd for each in ended), 2),
        "waiting_usd": round(waiting_usd, 2),
    }


def _hit(each: Ended) -> bool:
    assert each.job.deadline_s is not None
    return each.finish_s is not None and each.finish_s <= each.job.deadline_s


def _busy_h(each: Ended, until_s: float = float("inf")) -> float:
    spans = sum(max(min(end, until_s) - begin, 0.0) for begin, end in each.busy)
    return each.job.places * spans / 3600


def _utilisation(ended: Sequence[Ended], places: int) -> float | None:
    """Work done on own places from the first submission to the last; None where that is no span."""
    submits = [each.job.submit_s for each in ended]
    hours = (max(submits) - min(submits)) / 3600
    if hours <= 0:
        return None
    return sum(_busy_h(each, max(submits)) for each in ended) / (places * hours)


def _rounded(number: float | None) -> float | None:
    """To the digits that matter."""
    return None if number is None else float(f"{number:.5g}")
