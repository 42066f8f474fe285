"""Capacities found from windows of load, on desks that are played and not waited for."""

import random

import pytest
from tests.support.known_searches import played, searched
from tests.support.known_servers import DESKS, SHARE, WITHIN_S, Desk, truth_rps

from mlbroker.profiles.capacity import CapacitySearch, Seen

# In the last of these the least rate that failed is below all that passed.
SEARCHES = [("fixed", 3), ("workers", 3), ("shedding", 3), ("streaming", 11)]


@pytest.mark.parametrize(("name", "seed"), SEARCHES)
def test_the_capacity_is_found(name: str, seed: int) -> None:
    found = searched(DESKS[name](), seed).result()

    assert found is not None
    assert found.rps == pytest.approx(truth_rps(name, requests=40_000), rel=0.05)
    assert 0.7 * found.rps < found.low_rps <= found.rps
    assert not found.at_least


def test_an_objective_that_no_rate_meets_is_given_up() -> None:
    search = searched(Desk(lambda _, __: 1.0), 1)

    assert search.given_up
    assert search.result() is None


def test_a_generator_at_its_end_tells_of_the_least_only() -> None:
    search = CapacitySearch(SHARE, WITHIN_S, 0.02, 150.0)
    first = search.next()
    assert first is not None
    search.add(Seen(first.rate_rps, 100, 100), first.seconds)
    second = search.next()
    assert second is not None
    assert second.rate_rps > first.rate_rps

    search.add(Seen(second.rate_rps, 100, 0), second.seconds, generator_is_late=True)

    found = search.result()
    assert search.next() is None
    assert found is not None
    assert found.at_least
    assert found.rps == first.rate_rps


def test_the_time_is_kept() -> None:
    search, used_s = CapacitySearch(SHARE, WITHIN_S, 0.02, 60.0), 0.0
    desk, chance = DESKS["fixed"](), random.Random(1)
    while (window := search.next()) is not None:
        used_s += window.seconds
        search.add(played(desk, window, chance), window.seconds)

    assert used_s <= 60.0
