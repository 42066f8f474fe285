"""How the work of a decision grows with the queue, counted in calls: no clock, no flake."""

import math
import sys
import tracemalloc
from types import FrameType

import numpy as np
import pytest
from tests.support.queues import CLOUD, HOUR_S, job, state

from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.forecast import forecast
from mlbroker.policies.queue.interface import Policy, Running, State

FEW, MANY = 1_000, 10_000
# n log n, and a half more: constants of the few weigh less with the many.
MOST = 1.5 * MANY * math.log(MANY) / (FEW * math.log(FEW))


def queued(count: int) -> State:
    """So many jobs that wait for 184 places, all of which are taken."""
    lots = np.random.default_rng(1)
    hours = lots.lognormal(-0.5, 1.5, count).tolist()
    gangs = lots.choice([1, 1, 2, 4, 8], count).tolist()
    values = lots.choice([10.0, 1.0, 0.2], count).tolist()
    waits = [
        job(
            f"w{n}", h, places=gangs[n], submitted_s=float(n),
            value_usd_per_h=values[n], left_p90_h=1.5 * h,
            deadline_s=HOUR_S * (3 * h + 1) if n % 3 == 0 else None, team="ab"[n % 2],
            preemptible=bool(n % 4),
        )
        for n, h in enumerate(hours)
    ]  # fmt: skip
    runs = [Running(job(f"r{n}", 1 + n / 9, preemptible=n % 3 > 0), "a") for n in range(184)]
    return state(waits, *runs, places=184, cloud=CLOUD, tick_h=0.01)


def calls(policy: Policy, asked: State) -> int:
    """Of Python and of built-in functions, in one decision."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        policy.decide(asked)
    finally:
        sys.setprofile(before)
    return counted


@pytest.mark.parametrize("name", POLICIES)
def test_a_decision_takes_no_more_than_n_log_n(name: str) -> None:
    policy = POLICIES[name]()
    assert calls(policy, queued(MANY)) <= MOST * calls(policy, queued(FEW))


def test_so_do_the_predicted_starts() -> None:
    class Forecasts:
        """What is asked of each policy, in the same words."""

        def decide(self, asked: State) -> object:
            return forecast(POLICIES["auto"](), asked)

    told = Forecasts()
    assert calls(told, queued(MANY)) <= MOST * calls(told, queued(FEW))  # type: ignore[arg-type]


def test_ten_thousand_queued_take_little_memory() -> None:
    tracemalloc.start()
    try:
        POLICIES["auto"]().decide(queued(MANY))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 300e6
