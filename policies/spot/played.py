"""What a policy without a programme is expected to cost and to take: many histories, one by one.

Zones are drawn as the programme takes them to be, and the policy is played in them behind both
shells, as `mlbroker replay` does on a trace. It learns of the zones from what it sees alone.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mlbroker.policies.spot.forecast import Forecast, Work, drawn_work_h
from mlbroker.policies.spot.interface import ON_DEMAND, Policy, Terms
from mlbroker.policies.spot.rates import Rates
from mlbroker.policies.spot.replay import Replayed, Trace, play
from mlbroker.policies.spot.sky import Sky

HISTORIES = 60
# Looks until the deadline, at most: a live run has one a minute.
_LOOKS = 400


def played(
    terms: Terms,
    spot_usd_per_h: float,
    rates: Rates,
    policy: Callable[[], Policy],
    work: Work,
    histories: int = HISTORIES,
) -> Forecast:
    """Deterministic. The policy reckons with `terms.work_h` until the job is done."""
    terms = replace(terms, tick_h=max(terms.tick_h, terms.deadline_h / _LOOKS))
    random = np.random.default_rng(0)
    work_h = drawn_work_h(work, random, histories)
    found = np.array(
        [
            _told(terms, float(own_h), play(trace, 0, terms, policy()))
            for own_h, trace in zip(
                work_h, _traces(terms, spot_usd_per_h, rates, random, histories), strict=True
            )
        ]
    )
    usd, finished_h, demand_h, machine_h = found.T
    quantiles = np.quantile(finished_h, (0.1, 0.5, 0.9))
    return Forecast(
        mean_usd=float(usd.mean()),
        p90_usd=float(np.quantile(usd, 0.9)),
        finish_p10_h=float(quantiles[0]),
        finish_p50_h=float(quantiles[1]),
        finish_p90_h=float(quantiles[2]),
        on_demand_share=float(min(1.0, demand_h.sum() / machine_h.sum())),
        machine_h=float(machine_h.mean()),
        late=float((finished_h > terms.deadline_h + 1e-6).mean()),
    )


def _traces(
    terms: Terms, spot_usd_per_h: float, rates: Rates, random: np.random.Generator, histories: int
) -> list[Trace]:
    """Two zones that take turns: a machine that another zone spares is not the one that went."""
    ticks = int(np.ceil(terms.deadline_h / terms.tick_h)) + 1
    sky = Sky(rates, terms.tick_h, random, histories)
    zone = np.zeros(histories, bool)
    up = np.zeros((ticks, histories, 2), bool)
    for at in range(ticks):
        up[at, :, 0], up[at, :, 1] = sky.up & ~zone, sky.up & zone
        zone ^= sky.pass_step()
    price = np.full((ticks, 2), spot_usd_per_h)
    return [
        Trace(("a", "b"), ("r", "r"), terms.tick_h, up[:, number], price)
        for number in range(histories)
    ]


def _told(terms: Terms, work_h: float, seen: Replayed) -> tuple[float, float, float, float]:
    """Cost, finish, and hours on demand and on any machine, of a job that took `work_h`."""
    beyond_h = max(0.0, work_h - terms.work_h)
    left_h = np.array([terms.deadline_h - at.at_h - at.slack_h for at in seen.moments])
    done = int(np.argmax(left_h <= terms.work_h - work_h + 1e-9)) if beyond_h == 0 else -1
    end = seen.moments[done]
    spent_usd = end.spent_usd + beyond_h * terms.on_demand_usd_per_h
    demand_h, machine_h = beyond_h, beyond_h
    for stretch in seen.stretches:
        hours = max(0.0, min(stretch.end_h, end.at_h) - stretch.begin_h)
        machine_h += hours
        demand_h += hours * (stretch.place == ON_DEMAND)
    return spent_usd, end.at_h + beyond_h, demand_h, machine_h
