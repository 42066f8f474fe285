"""What the replay charges and serves, by hand; and the bound, which nobody passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.services import ENGINE, days_of_requests, replica_hours, terms_of

from mlbroker.policies.service import POLICIES
from mlbroker.policies.service.bound import most_served
from mlbroker.policies.service.interface import Sight, Terms, usd
from mlbroker.policies.service.replay import Engine, Row, play

MINUTE = 60_000


class Fixed:
    """A ceiling that was told beforehand, look by look."""

    def __init__(self, ceilings: list[int]) -> None:
        self._left = iter(ceilings)

    def ceiling(self, sight: Sight) -> int:
        return next(self._left)


def minutes(*rates: float) -> list[Row]:
    return [Row(at * MINUTE, MINUTE, rate * 60) for at, rate in enumerate(rates)]


def test_a_replica_is_paid_from_its_start_and_serves_after_its_boot() -> None:
    engine = Engine(10.0, boot_ms=2 * MINUTE, queue_s=6.0, upscale_ms=0, downscale_ms=0)
    rows = minutes(10, 20, 20, 20, 20, 20)
    played = play(rows, engine, terms_of(rows, 100), POLICIES["none"](terms_of(rows, 100)))
    # One replica; a second is wanted at the third look, and serves from the fifth minute.
    assert usd(played.all_spent) * 60 == 1 + 1 + 2 + 2 + 2 + 2
    assert played.requests == 110 * 60
    # A queue of six seconds is kept, the rest is turned away in the second to fourth minute.
    assert played.served == pytest.approx(60 * (10 + 10 + 10 + 10 + 20 + 20) + 60)
    assert played.dark_ms == 0


def test_a_lower_ceiling_stops_the_youngest_and_turns_the_queue_away() -> None:
    engine = Engine(10.0, boot_ms=0, queue_s=6.0, upscale_ms=0, downscale_ms=0)
    rows = minutes(30, 30, 30, 30)
    played = play(rows, engine, terms_of(rows, 100), Fixed([3, 2, 0, 1]))
    assert usd(played.all_spent) * 60 == 3 + 2 + 0 + 1
    assert played.served == pytest.approx(60 * (30 + 20 + 0 + 10) + 60)
    assert played.dark_ms == MINUTE


def test_the_engine_follows_after_its_delays() -> None:
    engine = Engine(10.0, boot_ms=0, upscale_ms=2 * MINUTE, downscale_ms=3 * MINUTE)
    rows = minutes(10, *[30] * 6, *[10] * 8)
    paid = []

    class Heard(Fixed):
        def ceiling(self, sight: Sight) -> int:
            paid.append(sight.wanted)
            return 99

    play(rows, engine, terms_of(rows, 100), Heard([]))
    assert paid == [1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1]


@given(
    rates=st.lists(st.floats(0, 200), min_size=2, max_size=40),
    boot=st.sampled_from([0, MINUTE, 5 * MINUTE]),
    cap=st.floats(0.05, 3),
    name=st.sampled_from(sorted(POLICIES)),
)
def test_nobody_who_keeps_the_cap_passes_the_bound(
    rates: list[float], boot: int, cap: float, name: str
) -> None:
    rows = minutes(*rates, 1.0)
    terms = terms_of(rows, max(cap, len(rows) / 60))
    engine = Engine(10.0, boot, 10.0, 0, MINUTE)
    played = play(rows, engine, terms, POLICIES[name](terms))
    if played.all_spent <= terms.cap:
        assert played.served <= most_served(rows, engine, terms) * (1 + 1e-7) + 1e-6


@pytest.mark.parametrize("seed", [1, 2])
def test_where_money_is_short_the_level_serves_nearly_what_anybody_could(seed: int) -> None:
    rows = days_of_requests(14, seed)
    terms = terms_of(rows, 0.7 * replica_hours(rows))
    played = play(rows, ENGINE, terms, POLICIES["auto"](terms))
    assert played.all_spent <= terms.cap
    assert played.dark_ms == 0
    assert played.served >= 0.97 * most_served(rows, ENGINE, terms)


def test_where_the_cap_suffices_nobody_is_turned_away_for_it() -> None:
    rows = days_of_requests(14)
    terms: Terms = terms_of(rows, 1.5 * replica_hours(rows))
    alone, capped = (play(rows, ENGINE, terms, POLICIES[name](terms)) for name in ("none", "auto"))
    assert alone.all_spent <= terms.cap
    assert capped.served >= alone.served - 0.001 * alone.requests


def test_a_surge_does_not_make_the_service_dark() -> None:
    rows = days_of_requests(14, factor=lambda day: 20.0 if 5 <= day < 8 else 1.0)
    ordinary = replica_hours(days_of_requests(14))
    terms = terms_of(rows, 1.6 * ordinary)
    engine, summary = ENGINE, {}
    for name in POLICIES:
        summary[name] = play(rows, engine, terms, POLICIES[name](terms))
    best = most_served(rows, engine, terms)
    assert summary["auto"].all_spent <= terms.cap
    assert summary["auto"].dark_ms == 0
    assert summary["auto"].served >= 0.9 * best
    assert summary["until-broke"].dark_ms > 0
    assert summary["none"].all_spent > 2 * terms.cap
    assert summary["vendor-budget"].all_spent > terms.cap
    assert summary["fixed-max"].all_spent <= terms.cap
