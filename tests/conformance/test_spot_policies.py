"""Every spot policy of the registry is held to what all promise."""

import numpy as np
import pytest
from tests.support.spot_traces import ON_DEMAND_USD, trace, worst_traces

from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.clairvoyant import least_usd
from mlbroker.policies.spot.interface import Terms, View
from mlbroker.policies.spot.replay import play

TERMS = Terms(2.0, 3.0, ON_DEMAND_USD, 0.2, 0.1, 0.1, 0.02, 5.5)
A_HAIR = 1e-6


@pytest.fixture(params=POLICIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class _Heard:
    """A policy whose wishes are written down."""

    def __init__(self, name: str) -> None:
        self.policy = POLICIES[name]()
        self.wishes: list[int] = []

    def decide(self, view: View) -> int:
        wish = self.policy.decide(view)
        self.wishes.append(wish)
        return wish


def test_it_is_in_time_and_within_the_budget_on_the_worst_traces(name: str) -> None:
    for what, sky in worst_traces(TERMS, zones=2).items():
        played = play(sky, 0, TERMS, POLICIES[name]())
        assert played.finished_h is not None, what
        assert played.finished_h <= TERMS.deadline_h + A_HAIR, what
        assert played.cost_usd <= 5.5 + A_HAIR, what


def test_it_sees_the_past_and_the_present_only(name: str) -> None:
    """Another future, the same wishes until it begins."""
    rng = np.random.default_rng(5)
    up = rng.random((40, 2)) < 0.6
    other = up.copy()
    other[12:] = ~up[12:]
    wishes = []
    for flags in (up, other):
        heard = _Heard(name)
        play(trace(flags.tolist(), TERMS.tick_h), 0, TERMS, heard)
        wishes.append(heard.wishes)
    shared = min(len(wishes[0]), len(wishes[1]), 8)
    assert shared == 8
    assert wishes[0][:shared] == wishes[1][:shared]


def test_nobody_pays_less_than_the_least(name: str) -> None:
    rng = np.random.default_rng(7)
    terms = Terms(2.0, 3.0, ON_DEMAND_USD, 0.2, 0.1)
    for _ in range(5):
        sky = trace((rng.random((40, 2)) < 0.7).tolist(), terms.tick_h)
        played = play(sky, 0, terms, POLICIES[name]())
        assert played.cost_usd >= least_usd(sky, 0, terms) - A_HAIR


def test_with_spot_always_there_it_is_no_dearer_than_on_demand(name: str) -> None:
    sky = trace([[True, True]] * 60, TERMS.tick_h)
    terms = Terms(2.0, 6.0, ON_DEMAND_USD, 0.2, 0.1)
    on_demand = ON_DEMAND_USD * (terms.work_h + terms.restart_h)
    assert play(sky, 0, terms, POLICIES[name]()).cost_usd <= on_demand + A_HAIR
