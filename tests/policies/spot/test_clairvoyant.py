"""The least that anybody could have paid: held against every schedule there is."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from tests.support.spot_traces import ON_DEMAND_USD, trace

from mlbroker.policies.spot.clairvoyant import least_usd
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, Terms, View
from mlbroker.policies.spot.replay import play


class Schedule:
    """These places, tick by tick."""

    def __init__(self, places: tuple[int, ...]) -> None:
        self.places = list(places)

    def decide(self, view: View) -> int:
        return self.places.pop(0) if self.places else view.on


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("restart_h", [0.0, 0.5, 1.0])
def test_it_is_the_best_of_all_schedules(seed: int, restart_h: float) -> None:
    rng = np.random.default_rng(seed)
    sky = trace((rng.random((6, 2)) < 0.6).tolist(), 1.0)
    sky.price_usd_per_h[:] = rng.choice([0.25, 0.5, 1.0], sky.up.shape)
    terms = Terms(3.0, 6.0, ON_DEMAND_USD, restart_h, 1.0)
    # Who knows the future needs no shell: with a deadline far away it lets all pass.
    free = replace(terms, deadline_h=100.0)
    best = min(
        played.cost_usd
        for places in product((WAIT, ON_DEMAND, 0, 1), repeat=6)
        if (played := play(sky, 0, free, Schedule(places))).finished_h is not None
    )
    assert least_usd(sky, 0, terms) == pytest.approx(best)


def test_without_any_machine_it_is_on_demand() -> None:
    sky = trace([[False]] * 10, 0.5)
    terms = Terms(2.0, 4.0, ON_DEMAND_USD, 0.25, 0.5)
    assert least_usd(sky, 0, terms) == pytest.approx(2.25 * ON_DEMAND_USD)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("restart_h", [0.5, 1.0])
@pytest.mark.parametrize("deadline_h", [4.0, 5.0, 6.0])
def test_behind_the_shell_it_is_the_best_of_all_that_pass(
    seed: int, restart_h: float, deadline_h: float
) -> None:
    rng = np.random.default_rng(seed)
    sky = trace((rng.random((6, 2)) < 0.7).tolist(), 1.0)
    sky.price_usd_per_h[:] = rng.choice([0.25, 0.5, 1.0], sky.up.shape)
    terms = Terms(3.0, deadline_h, ON_DEMAND_USD, restart_h, 1.0)
    best = min(
        played.cost_usd
        for places in product((WAIT, ON_DEMAND, 0, 1), repeat=6)
        if (played := play(sky, 0, terms, Schedule(places))).finished_h is not None
    )
    sure = least_usd(sky, 0, terms, safe=True)
    assert least_usd(sky, 0, terms) - 1e-9 <= sure <= best + 1e-9
    # Within a look only the bound can leave one machine and start the next.
    if restart_h == 1.0:
        assert sure == pytest.approx(best)


def test_with_no_slack_for_a_trial_who_has_to_be_sure_stays_on_demand() -> None:
    sky = trace([[True]] * 40, 0.5)
    tight = Terms(8.0, 8.9, ON_DEMAND_USD, 0.5, 0.5)
    assert least_usd(sky, 0, tight) == pytest.approx(8.5 * 0.5)
    assert least_usd(sky, 0, tight, safe=True) == pytest.approx(8.5 * ON_DEMAND_USD)


def test_a_deadline_within_a_tick_has_a_bound_too() -> None:
    sky = trace([[False]] * 10, 0.25)
    terms = Terms(1.0, 1.1, ON_DEMAND_USD, 0.1, 0.25)
    for safe in (False, True):
        assert 0 < least_usd(sky, 0, terms, safe) <= 1.1 * ON_DEMAND_USD
