"""One job on a recorded trace: what it costs, when it is done, and where it ran."""

import numpy as np
import pytest
from tests.support.spot_traces import ON_DEMAND_USD, trace

from mlbroker.policies.spot.greedy import Greedy
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, Terms, View
from mlbroker.policies.spot.on_demand import OnDemand
from mlbroker.policies.spot.replay import Stretch, play

TICK_H = 0.5


def terms(**changes: float) -> Terms:
    usual = {
        "work_h": 2.0, "deadline_h": 6.0, "on_demand_usd_per_h": ON_DEMAND_USD,
        "restart_h": 0.25, "tick_h": TICK_H,
    }  # fmt: skip
    return Terms(**(usual | changes))


class Script:
    """Wishes these places, one a tick; then stays."""

    def __init__(self, *places: int) -> None:
        self.places = list(places)

    def decide(self, view: View) -> int:
        return self.places.pop(0) if self.places else view.on


def test_on_demand_pays_for_the_restart_and_the_work() -> None:
    played = play(trace([[True]] * 12, TICK_H), 0, terms(), OnDemand())
    assert played.cost_usd == pytest.approx(2.25 * ON_DEMAND_USD)
    assert played.finished_h == pytest.approx(2.25)
    assert played.restarts == 0
    assert played.stretches == (Stretch(ON_DEMAND, 0.0, pytest.approx(2.25)),)


def test_a_machine_that_is_taken_takes_the_work_since_the_checkpoint_along() -> None:
    """Two ticks of spot, 0.75 h of work, of which 0.6 h are saved; an outage; then to the end."""
    up = [[True], [True], [False], *[[True]] * 9]
    played = play(trace(up, TICK_H), 0, terms(lost_h=0.6), Greedy())
    assert played.restarts == 1
    # The one checkpoint was at 0.75 h, the end of the second tick: saved at the first look after.
    assert played.finished_h == pytest.approx(1.5 + 0.25 + 2.0 - 0.75)
    assert played.cost_usd == pytest.approx(0.5 * (1.0 + 0.25 + 1.25))
    late = play(trace(up, TICK_H), 0, terms(lost_h=0.8), Greedy())
    assert late.finished_h == pytest.approx(1.5 + 0.25 + 2.0), "nothing was saved"


def test_spot_boots_beside_on_demand_which_works_on() -> None:
    played = play(trace([[True]] * 12, TICK_H), 0, terms(), Script(ON_DEMAND, 0))
    # 0.5 h on demand, a quarter of an hour of both, the rest on spot: no time is lost.
    assert played.finished_h == pytest.approx(2.25)
    assert played.cost_usd == pytest.approx(0.75 * 2.0 + 0.25 * 0.5 + 1.5 * 0.5)
    assert [stretch.place for stretch in played.stretches] == [ON_DEMAND, 0]


def test_one_machine_at_a_time_is_ended_before_the_next_one_boots() -> None:
    played = play(trace([[True]] * 12, TICK_H), 0, terms(overlaps=False), Script(ON_DEMAND, 0))
    # 0.5 h on demand, of which 0.25 worked and came along; a quarter of an hour of nothing.
    assert played.finished_h == pytest.approx(2.5)
    assert played.cost_usd == pytest.approx(0.5 * 2.0 + 2.0 * 0.5)
    assert played.stretches[0] == Stretch(ON_DEMAND, 0.0, 0.5)


def test_waiting_costs_nothing_but_time() -> None:
    played = play(trace([[True]] * 12, TICK_H), 0, terms(), Script(WAIT, WAIT, 0))
    assert played.finished_h == pytest.approx(1.0 + 2.25)
    assert played.cost_usd == pytest.approx(2.25 * 0.5)


def test_the_checkpoint_pays_to_move_to_another_region() -> None:
    sky = trace([[True, True]] * 12, TICK_H)
    stays = play(sky, 0, terms(egress_usd=0.3), Script(0))
    moves = play(sky, 0, terms(egress_usd=0.3), Script(0, 1))
    assert moves.cost_usd == pytest.approx(stays.cost_usd + 0.3 + 0.25 * 0.5)


def test_a_trace_that_ends_first_is_no_finish() -> None:
    played = play(trace([[True]] * 3, TICK_H), 0, terms(), Greedy())
    assert played.finished_h is None
    assert played.cost_usd == pytest.approx(1.5 * 0.5)


def test_zones_are_remembered_by_events_and_by_what_was_to_be_expected() -> None:
    seen: list[View] = []

    class Watching:
        def decide(self, view: View) -> int:
            seen.append(view)
            return WAIT

    up = np.array([[True], [True], [False], [False], [True]] * 2)
    play(trace(up.tolist(), TICK_H), 0, terms(deadline_h=60.0), Watching())
    (zone,) = seen[-1].zones
    assert (zone.preempted.events, zone.recovered.events) == (2, 2)
    assert zone.preempted.expected > 0
    assert zone.up
