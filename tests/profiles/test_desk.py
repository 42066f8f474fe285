"""Servers read off their answers, and what those tell of their capacity."""

import random

import pytest
from tests.support.known_searches import played
from tests.support.known_servers import DESKS, SHARE, WITHIN_S, Desk

from mlbroker.profiles.capacity import Window
from mlbroker.profiles.desk import Asked, read_capacity, read_off


def asked(desk: Desk, rate_rps: float, seconds: float = 60.0) -> list[Asked]:
    """What a minute of load shows."""
    window = Window(rate_rps, seconds, 0.0, 10**9, settle=False)
    return list(played(desk, window, random.Random(5)).asked)


@pytest.mark.parametrize(("name", "rate", "workers"), [("fixed", 42, 1), ("workers", 70, 4)])
def test_workers_and_what_an_answer_takes_them(name: str, rate: float, workers: int) -> None:
    desk = read_off([asked(DESKS[name](), rate)])

    assert desk.workers == workers
    takes = 0.02 if workers == 1 else 0.05
    for alike in desk.draws:
        assert alike[len(alike) // 2].works_s == pytest.approx(takes, abs=0.002)


def test_who_is_turned_away_found_as_many_inside() -> None:
    desk = read_off([asked(DESKS["shedding"](), 50)])

    failed = [sum(each.failed for each in alike) / len(alike) for alike in desk.draws]
    assert failed[:4] == [0, 0, 0, 0]
    assert failed[4] > 0.8


def test_the_chance_of_the_arrivals_is_not_the_servers() -> None:
    """The same server under two loads that chance made easy and hard."""
    found = []
    for seed in (1, 2, 3, 4):
        window = Window(42.0, 40.0, 0.0, 10**9, settle=False)
        seen = played(DESKS["fixed"](), window, random.Random(seed))
        late = seen.judged - seen.good
        read = read_capacity([seen.asked], 1 - SHARE, WITHIN_S)
        assert read is not None
        found.append((late / seen.judged, read.rps))

    shares, rates = zip(*found, strict=True)
    assert max(shares) > 1.5 * min(shares)
    assert max(rates) < 1.02 * min(rates)


@pytest.mark.parametrize("failed", [False, True])
def test_where_all_are_in_time_or_none_nothing_is_told(failed: bool) -> None:
    window = [Asked(float(number), number + 0.01, 0.0, failed) for number in range(100)]

    assert read_capacity([window], 0.05, 0.2) is None
    assert read_capacity([], 0.05, 0.2) is None
