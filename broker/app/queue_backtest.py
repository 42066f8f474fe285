"""What queue policies would have made of a cluster's trace."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.backtest.queue_table import Draw, read_jobs
from mlbroker.broker.backtest.queues import compare, places_for, span_h
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count
from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.interface import Cloud
from mlbroker.policies.queue.replay import Site

CLOUD_SETUP_H = 1 / 6


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """What the command line asks for. `policies` is empty for all; places come from the load
    where none are given; without a price there is no cloud."""

    table: Path
    policies: Sequence[str]
    places: int | None
    load: float
    days: tuple[float, float] | None
    cloud_usd_per_gpu_h: float | None
    restart_s: float
    sigma: float
    preemptible_share: float
    seed: int


def backtest_queue(request: QueueRequest, listener: Listener) -> dict[str, Any]:
    """The document of `mlbroker queue backtest --json`; InputError for what cannot be."""
    for name in request.policies:
        if name not in POLICIES:
            hint = nearest_hint(name, list(POLICIES))
            raise InputError(f"there is no policy {quoted(name)}", where="--policy", hint=hint)
    _refuse_nonsense(request)
    draw = Draw(request.seed, request.sigma, request.preemptible_share)
    jobs, drawn = read_jobs(request.table, request.days, draw, listener.warn)
    places = request.places or places_for(jobs, request.load, span_h(jobs, request.days))
    wide = sum(job.places > places for job in jobs)
    price = request.cloud_usd_per_gpu_h
    if wide:
        what = "only the cloud runs them" if price is not None else "they never run"
        listener.warn(f"{count(wide, 'gang')} larger than the site's {places} places: {what}")
    cloud = None if price is None else Cloud(price, CLOUD_SETUP_H)
    site = Site(places, request.restart_s, cloud)
    return {
        "schema": "mlbroker.queue-backtest/1",
        "jobs": len(jobs),
        "places": places,
        "cloud_usd_per_gpu_h": price,
        "restart_s": request.restart_s,
        "seed": request.seed,
        "drawn": list(drawn),
        **compare(jobs, site, request.policies or list(POLICIES)),
    }


def _refuse_nonsense(request: QueueRequest) -> None:
    if request.places is not None and request.places < 1:
        raise InputError(f"{request.places} is not a number of places", where="--places")
    if not 0 < request.load < math.inf:
        raise InputError(f"{request.load:g} is not a number above zero", where="--load")
    if not 0 <= request.preemptible_share <= 1:
        share = f"{request.preemptible_share:g}"
        raise InputError(f"{share} is not a share from 0 to 1", where="--preemptible-share")
    for flag, value in (
        ("--cloud-usd-per-gpu-h", request.cloud_usd_per_gpu_h),
        ("--restart-s", request.restart_s),
        ("--sigma", request.sigma),
    ):
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"{value:g} is not a number of zero or more", where=flag)
    if request.days is not None and not 0 <= request.days[0] < request.days[1] < math.inf:
        raise InputError("the days end before they begin", where="--days", hint="as in 27:87")
