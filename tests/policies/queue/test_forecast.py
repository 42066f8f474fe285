"""Positions and predicted starts, in closed form."""

import pytest
from tests.support.queues import CLOUD, HOUR_S, job, state

from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.forecast import forecast
from mlbroker.policies.queue.interface import Action


def test_each_starts_when_those_before_it_are_done() -> None:
    waits = [job("long", 4.0, left_p90_h=8.0), job("short", 1.0, left_p90_h=1.5)]
    runs = job("runs", 0.5, left_p90_h=1.0, preemptible=False)
    first, second = forecast(POLICIES["auto"](), state(waits, runs, now_s=100.0, cloud=CLOUD))
    assert (first.job_id, first.position, first.action) == ("short", 1, Action.WAIT)
    assert first.start_p50_s == 100 + 0.5 * HOUR_S
    assert first.start_p90_s == 100 + 1.0 * HOUR_S
    assert second.start_p50_s == 100 + 1.5 * HOUR_S
    assert second.start_p90_s == 100 + 2.5 * HOUR_S
    assert second.reason == "short comes before it"
    # The other one waits at 1 USD an hour for each of the four hours of the one place.
    assert second.captures_usd == pytest.approx(4.0)
    assert second.cloud_usd == pytest.approx(3.06 * (4 + 1 / 6))


def test_who_starts_now_has_no_position_and_a_gang_that_fits_nowhere_no_start() -> None:
    found = {
        each.job_id: each
        for each in forecast(
            POLICIES["fifo"](), state([job("wide", places=9), job("now")], places=2)
        )
    }
    assert (found["now"].position, found["now"].action) == (0, Action.START)
    assert found["now"].start_p50_s == 0
    assert found["wide"].start_p50_s is None
    assert "fits in no pool" in found["wide"].reason
    assert found["wide"].cloud_usd is None


def test_a_gang_waits_for_enough_places_of_one_pool() -> None:
    busy = [job("a1", 1.0), job("a2", 3.0)]
    waits = [job("a pair", 1.0, places=2), job("behind", 1.0)]
    pair, behind = forecast(POLICIES["fifo"](), state(waits, *busy, places=2))
    assert pair.start_p50_s == 3 * HOUR_S
    assert behind.start_p50_s == 4 * HOUR_S
