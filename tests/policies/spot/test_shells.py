"""The shells: no wish makes a job late or dear, whatever becomes of the spot machines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.spot_traces import ON_DEMAND_USD, Erratic, trace, worst_traces

from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, Record, Terms, View, Zone
from mlbroker.policies.spot.replay import Trace, play
from mlbroker.policies.spot.shells import held

A_HAIR = 1e-6


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Terms, Trace, int]:
    """Terms with any slack and budget that on demand can just keep, and a random sky."""
    tick = draw(st.sampled_from([0.05, 0.1, 0.25]))
    restart = draw(st.sampled_from([0.0, 0.01, 0.1, 0.13, 0.3, 0.5]))
    work = draw(st.floats(0.2, 3))
    slack = draw(st.sampled_from([0.0, 1e-6, 0.05, 0.3, 1.0, 3.0]))
    egress = draw(st.sampled_from([0.0, 0.3]))
    extra = draw(st.sampled_from([None, 0.0, 0.01, 0.2, 1.0]))
    least = ON_DEMAND_USD * (work + restart) + egress
    terms = Terms(
        work_h=work,
        deadline_h=work + restart + slack,
        on_demand_usd_per_h=ON_DEMAND_USD,
        restart_h=restart,
        tick_h=tick,
        lost_h=draw(st.sampled_from([0.0, 0.05, 0.33])),
        egress_usd=egress,
        budget_usd=None if extra is None else least + extra,
        overlaps=draw(st.booleans()),
    )
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    ticks = int(terms.deadline_h / tick) + 3
    up = rng.random((ticks, draw(st.integers(1, 3)))) < draw(st.sampled_from([0.1, 0.5, 0.9, 1]))
    sky = trace(up.tolist(), tick)
    sky.price_usd_per_h[:] = rng.uniform(0.05, 1, up.shape) * ON_DEMAND_USD
    return terms, sky, seed


@settings(max_examples=400, deadline=None)
@given(jobs())
def test_an_erratic_policy_is_never_late_and_never_over_its_budget(
    job: tuple[Terms, Trace, int],
) -> None:
    terms, sky, seed = job
    played = play(sky, 0, terms, Erratic(seed))
    assert played.finished_h is not None
    assert played.finished_h <= terms.deadline_h + A_HAIR
    if terms.budget_usd is not None:
        assert played.cost_usd <= terms.budget_usd + A_HAIR


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize("slack_h", [0.0, 0.2, 0.41, 0.8])
@pytest.mark.parametrize("budget_usd", [None, 2.45, 3.0])
def test_it_holds_when_machines_go_at_the_worst_moment(
    slack_h: float, budget_usd: float | None, overlaps: bool
) -> None:
    terms = Terms(1.0, 1.2 + slack_h, ON_DEMAND_USD, 0.2, 0.05, 0.1, 0.04, budget_usd, overlaps)
    for name, sky in worst_traces(terms, zones=2).items():
        for seed in range(20):
            played = play(sky, 0, terms, Erratic(seed))
            assert played.finished_h is not None, name
            assert played.finished_h <= terms.deadline_h + A_HAIR, name
            assert budget_usd is None or played.cost_usd <= budget_usd + A_HAIR, name


def _view(slack_h: float, on: int = WAIT, budget_usd: float | None = None) -> View:
    terms = Terms(10.0, 20.0, 2.0, 0.5, 0.1, 0.2, 0.0, budget_usd)
    zones = [Zone("a", "r", True, 0.5, 3.0, Record(), Record())]
    return View(terms, zones, 5.0 + slack_h, 5.0, 5.0, 1.0, on, 0.0, None)


@pytest.mark.parametrize(
    ("on", "wish", "slack_h", "place"),
    [
        (WAIT, WAIT, 0.6, WAIT),  # a tick and a restart fit
        (WAIT, WAIT, 0.59, ON_DEMAND),
        (WAIT, 0, 1.2, 0),  # two restarts and the lost work
        (WAIT, 0, 1.19, WAIT),
        (WAIT, 0, 0.5, ON_DEMAND),
        (ON_DEMAND, 0, 0.7, 0),  # spot boots beside it
        (ON_DEMAND, 0, 0.69, ON_DEMAND),
        (ON_DEMAND, WAIT, 0.59, ON_DEMAND),
        (0, 0, 0.0, 0),  # what works keeps the slack
        (0, WAIT, 0.59, 0),
        (0, ON_DEMAND, 0.0, ON_DEMAND),
    ],
)
def test_what_the_deadline_lets_pass(on: int, wish: int, slack_h: float, place: int) -> None:
    assert held(wish, _view(slack_h, on)) == place


@pytest.mark.parametrize(
    ("budget_usd", "place"),
    # 1 spent, 11 to finish on demand, a restart included; a try costs 0.8 h at most.
    [(13.6, 0), (13.59, WAIT), (12.0, WAIT), (11.9, ON_DEMAND)],
)
def test_what_the_budget_lets_pass(budget_usd: float, place: int) -> None:
    assert held(0, _view(9.0, WAIT, budget_usd)) == place


@pytest.mark.parametrize(("budget_usd", "place"), [(13.0, ON_DEMAND), (12.9, 0)])
def test_on_demand_boots_beside_spot_only_where_both_can_be_paid(
    budget_usd: float, place: int
) -> None:
    assert held(ON_DEMAND, _view(9.0, 0, budget_usd)) == place


def test_a_zone_without_machines_is_not_gone_to() -> None:
    view = _view(5.0)
    view.zones[0].up = False
    assert held(0, view) == WAIT
