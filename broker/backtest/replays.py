"""Spot policies, played on a recorded trace from many starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.clairvoyant import least_usd
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.replay import Replayed, Trace, play

_IN_TIME_H = 1e-6


@dataclass(frozen=True, slots=True)
class Replay:
    """One job under one policy, and the least that anybody could have paid who knew the trace.

    `least_in_shell_usd` is the least of who has to be sure of the deadline all the same.
    """

    policy: str
    start: int
    result: Replayed
    least_usd: float
    least_in_shell_usd: float
    in_time: bool


def draw_starts(trace: Trace, deadline_h: float, starts: int, seed: int) -> list[int]:
    """Ticks from which the trace lasts until the deadline, drawn without repeats."""
    last = len(trace.up) - int(np.ceil(deadline_h / trace.tick_h - 1e-9))
    if last < 0:
        return []
    drawn = np.random.default_rng(seed).permutation(last + 1)[:starts]
    return sorted(int(start) for start in drawn)


def replay(
    trace: Trace, terms: Terms, starts: Sequence[int], policies: Sequence[str]
) -> list[Replay]:
    """Every policy from every start."""
    replays = []
    for start in starts:
        bounds = least_usd(trace, start, terms), least_usd(trace, start, terms, safe=True)
        for name in policies:
            result = play(trace, start, terms, POLICIES[name]())
            replays.append(Replay(name, start, result, *bounds, is_in_time(result, terms)))
    return replays


def is_in_time(result: Replayed, terms: Terms) -> bool:
    """Whether the job was done by its deadline, up to what rounding adds."""
    done = result.finished_h
    return done is not None and done <= terms.deadline_h + _IN_TIME_H


def document(trace: Trace, terms: Terms, replays: Sequence[Replay]) -> dict[str, Any]:
    """The replays as JSON, `mlbroker.replay/1`. Ratios are geometric means over the starts."""
    policies = dict.fromkeys(each.policy for each in replays)
    return {
        "schema": "mlbroker.replay/1",
        "zones": list(trace.zones),
        "work_h": terms.work_h,
        "deadline_h": terms.deadline_h,
        "restart_overhead_s": terms.restart_h * 3600,
        "on_demand_price_per_hour_usd": terms.on_demand_usd_per_h,
        "runs": [
            {
                "start_s": round(each.start * trace.tick_h * 3600, 3),
                "policy": each.policy,
                "cost_usd": round(each.result.cost_usd, 6),
                "clairvoyant_usd": round(each.least_usd, 6),
                "clairvoyant_in_shell_usd": round(each.least_in_shell_usd, 6),
                "finished_h": each.result.finished_h and round(each.result.finished_h, 6),
                "met_deadline": each.in_time,
                "restarts": each.result.restarts,
            }
            for each in replays
        ],
        "summary": {
            name: _summary(terms, [each for each in replays if each.policy == name])
            for name in policies
        },
    }


def _summary(terms: Terms, mine: Sequence[Replay]) -> dict[str, float]:
    on_demand_usd = terms.on_demand_usd_per_h * (terms.work_h + terms.restart_h)
    costs = np.array([each.result.cost_usd for each in mine])
    least = np.array([each.least_usd for each in mine])
    sure = np.array([each.least_in_shell_usd for each in mine])
    return {
        "cost_vs_on_demand": _mean(costs / on_demand_usd),
        "cost_vs_clairvoyant": _mean(costs / least),
        "cost_vs_clairvoyant_in_shell": _mean(costs / sure),
        "misses": sum(not each.in_time for each in mine),
        "restarts": round(float(np.mean([each.result.restarts for each in mine])), 2),
    }


def _mean(ratios: NDArray[np.float64]) -> float:
    """The geometric one."""
    return round(float(np.exp(np.log(ratios).mean())), 4)
