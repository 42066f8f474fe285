"""Jobs, sites and states of queues, in few words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlbroker.policies.queue.interface import Cloud, Job, Running, State
from mlbroker.policies.queue.replay import Site, TrueJob

CLOUD = Cloud(3.06, 1 / 6)
HOUR_S = 3600.0


def job(name: str, hours: float | None = 1.0, **more: Any) -> Job:
    """One place, 1 USD an hour, known to the hour, unless said otherwise."""
    told: dict[str, Any] = {
        "id": name, "places": 1, "submitted_s": 0.0, "value_usd_per_h": 1.0, "left_h": hours,
        "left_p90_h": hours,
    }  # fmt: skip
    return Job(**(told | more))


def state(waiting: Sequence[Job], *running: Job | Running, places: int = 1, **more: Any) -> State:
    """At moment 0 on one pool `a`."""
    busy = [each if isinstance(each, Running) else Running(each, "a") for each in running]
    told: dict[str, Any] = {"now_s": 0.0, "pools": {"a": places}}
    return State(**(told | {"waiting": list(waiting), "running": busy} | more))


def true(name: str, at_h: float, hours: float, places: int = 1, **more: Any) -> TrueJob:
    """A job of a trace, predicted exactly, unless said otherwise."""
    told: dict[str, Any] = {
        "id": name, "submit_s": at_h * HOUR_S, "places": places, "duration_s": hours * HOUR_S,
        "predicted_s": hours * HOUR_S, "value_usd_per_h": 1.0,
    }  # fmt: skip
    return TrueJob(**(told | more))


def trace(seed: int, jobs: int = 150, per_h: float = 6.0) -> list[TrueJob]:
    """Gangs of 1 to 8, log-normal lengths, deadlines, values, errors: a busy site of 16 places."""
    rng = np.random.default_rng(seed)
    submits = np.cumsum(rng.exponential(1 / per_h, jobs))
    found = []
    for number, at_h in enumerate(submits.tolist()):
        hours = float(np.clip(rng.lognormal(-0.5, 1.2), 0.02, 20))
        late = bool(rng.random() < 0.4)
        found.append(
            true(
                f"j{number}", at_h, hours, int(rng.choice([1, 1, 1, 2, 4, 8])),
                predicted_s=None if rng.random() < 0.1
                else hours * HOUR_S * float(np.exp(0.3 * rng.standard_normal())),
                value_usd_per_h=0.2 if late else float(rng.choice([10, 1, 0.2])),
                deadline_s=HOUR_S * (at_h + max(hours * rng.uniform(1.2, 3.2), hours + 0.5))
                if late else None,
                preemptible=bool(rng.random() < 0.7), team=str(rng.choice(["a", "b"])),
            )
        )  # fmt: skip
    return found


def site(places: int = 16, cloud: Cloud | None = CLOUD, restart_s: float = 120.0) -> Site:
    """Own places, and a cloud."""
    return Site(places, restart_s, cloud)
