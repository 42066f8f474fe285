"""Capacities found from windows of load, on desks that are played and not waited for."""

import random

import pytest
from tests.support.known_servers import DESKS, SHARE, WITHIN_S, Desk, truth_rps

from mlbroker.profiles.capacity import CapacitySearch, Seen, Window


def played(desk: Desk, window: Window, chance: random.Random) -> list[Seen]:
    """What a generator would have seen of it."""
    desk.free, desk.inside = [], []
    parts = [[0, 0] for _ in range(window.parts)]
    part_s = (window.seconds - window.skip_s) / window.parts
    bad, stopped = 0, False
    count = round(window.rate_rps * window.seconds)
    for due_s in sorted(chance.random() * window.seconds for _ in range(count)):
        done_s = desk.arrive(due_s)
        good = done_s is not None and done_s - due_s <= WITHIN_S
        bad += not good
        if due_s >= window.skip_s:
            part = parts[min(window.parts - 1, int((due_s - window.skip_s) / part_s))]
            part[0] += 1
            part[1] += good
        if bad > window.most_bad:
            stopped = True
            break
    told = [part for part in parts if part[0]] or [[1, 0]]
    return [Seen(window.rate_rps, judged, good, stopped) for judged, good in told]


def searched(desk: Desk, seed: int, budget_s: float = 150.0) -> CapacitySearch:
    """A whole search on the desk."""
    search, chance = CapacitySearch(SHARE, WITHIN_S, 0.02, budget_s), random.Random(seed)
    while (window := search.next()) is not None:
        search.add(played(desk, window, chance), window.seconds)
    return search


@pytest.mark.parametrize("name", ["fixed", "workers", "shedding"])
def test_the_capacity_is_found(name: str) -> None:
    found = searched(DESKS[name](), 3).result()

    assert found is not None
    assert found.rps == pytest.approx(truth_rps(name, requests=20_000), rel=0.12)
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
    search.add([Seen(first.rate_rps, 100, 100)], first.seconds)
    second = search.next()
    assert second is not None
    assert second.rate_rps > first.rate_rps

    search.add([Seen(second.rate_rps, 100, 0)], second.seconds, generator_is_late=True)

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
