"""Every policy for a service's ceiling is held to what all promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.services import ENGINE, days_of_requests, terms_of

from mlbroker.policies.service import POLICIES
from mlbroker.policies.service.interface import HOUR_MS, Sight, Terms
from mlbroker.policies.service.replay import Row, play

KEEP_THE_CAP = ("auto", "fixed-max", "until-broke")


@pytest.mark.parametrize("name", POLICIES)
def test_a_ceiling_is_a_number_of_replicas_and_the_same_for_the_same_past(name: str) -> None:
    rows = days_of_requests(3, factor=lambda day: 20.0 if day > 2 else 1.0)
    terms = terms_of(rows, 1200.0)
    one, same = (play(rows, ENGINE, terms, POLICIES[name](terms)) for _ in range(2))
    assert one == same
    assert 0 < one.served <= one.requests
    assert sum(one.spent.values()) > 0


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("unknown", ["running", "spent", "both"])
def test_what_nobody_knows_stops_nothing(name: str, unknown: str) -> None:
    terms = Terms(10**9, 100 * 10**9 * HOUR_MS, terms_of(days_of_requests(1), 1).period_of)
    policy = POLICIES[name](terms)
    running = None if unknown in ("running", "both") else 2
    spent = None if unknown in ("spent", "both") else 0
    for minute in range(30):
        sight = Sight(minute * 60_000, minute * 60_000, 5.0, 2, 2, running, spent)
        assert policy.ceiling(sight) >= 0


@pytest.mark.parametrize("name", KEEP_THE_CAP)
@given(
    rates=st.lists(st.sampled_from([0.0, 1.0, 50.0, 1e4, 1e7]), min_size=3, max_size=60),
    spare=st.floats(0, 50),
    least=st.integers(0, 3),
)
def test_the_cap_holds_on_adversarial_traces(
    name: str, rates: list[float], spare: float, least: int
) -> None:
    rows = [Row(at * 600_000, 600_000, rate * 600) for at, rate in enumerate([*rates, 1.0])]
    terms = terms_of(rows, least * len(rows) / 6 + spare + 0.01, least)
    played = play(rows, ENGINE, terms, POLICIES[name](terms))
    # A service that runs already has what its first row needs until the first look.
    assert played.all_spent <= terms.cap
