"""The cap holds whatever the forecast, the clocks and the meter say: exact money, no tolerance."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.service.auto import Auto
from mlbroker.policies.service.ceiling import Purse, safe_ceiling, water_level
from mlbroker.policies.service.interface import HOUR_MS, UNBOUNDED, Sight, Terms
from mlbroker.policies.service.periods import DAY_MS, spans_of, utc_day, utc_month

NANO = 10**9


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


# Month ends, a leap day, and both ends of summer time in Berlin and New York.
MOMENTS = (
    "2026-11-29T12:00+00:00", "2026-11-30T23:58+00:00", "2026-12-31T23:00+00:00",
    "2028-02-28T23:50+00:00", "2026-03-29T00:50+00:00", "2026-10-31T20:00+00:00",
    "2026-10-25T00:30+00:00", "2026-03-08T06:30+00:00", "2026-11-01T05:30+00:00",
)  # fmt: skip

look = st.fixed_dictionaries(
    {
        # Up to a lease, sometimes hours or weeks: a guard that was dead.
        "elapsed_ms": st.one_of(
            st.integers(1, 300_000), st.just(300_000), st.integers(300_000, 40 * DAY_MS)
        ),
        "jump_ms": st.one_of(
            st.just(0),
            st.just(HOUR_MS),
            st.just(-HOUR_MS),
            st.integers(-400 * DAY_MS, 400 * DAY_MS),
        ),
        "meter": st.sampled_from(["right", "silent", "frozen"]),
        "knows_running": st.booleans(),
        "wanted": st.sampled_from([0, 5, 10**9]),
        "uses": st.sampled_from([0.0, 0.5, 1.0, 1.0]),
        "requests_per_s": st.floats(0, 1e9),
    }
)


@given(
    start=st.sampled_from(MOMENTS),
    looks=st.lists(look, min_size=1, max_size=40),
    least=st.integers(0, 3),
    spare=st.integers(0, 10**6),
    price=st.integers(1, 30 * NANO),
    daily=st.booleans(),
    policy=st.sampled_from(["auto", "whatever"]),
)
def test_no_period_ever_costs_more_than_its_cap(
    start: str,
    looks: list[dict[str, int]],
    least: int,
    spare: int,
    price: int,
    daily: bool,
    policy: str,
) -> None:
    """Guards die, clocks jump, meters freeze, forecasts are nonsense."""
    period_of = utc_day if daily else utc_month
    longest = 31 * DAY_MS if not daily else DAY_MS
    cap = least * price * longest + spare * price * 1000
    terms = Terms(price, cap, period_of, least)
    guard, purse = Auto(terms), Purse(terms)
    begin = true_ms = ms(start)
    wall_off = spent = seen = allowed = runs = 0
    paid: dict[object, int] = {}

    def pay(replicas: int, until_ms: int) -> None:
        nonlocal true_ms, spent
        while true_ms < until_ms:
            end = min(period_of(true_ms).end_ms, until_ms)
            units = replicas * price * (end - true_ms)
            paid[period_of(true_ms)] = paid.get(period_of(true_ms), 0) + units
            spent += units
            true_ms = end

    for number, told in enumerate(looks):
        if number:
            until_ms = true_ms + told["elapsed_ms"]
            pay(runs, min(until_ms, true_ms + terms.lease_ms))
            if true_ms < until_ms:
                # Nobody renewed the lease: what is left is the fewest.
                runs = min(runs, least)
                pay(runs, until_ms)
            wall_off += told["jump_ms"]
        meter = None if told["meter"] == "silent" else seen if told["meter"] == "frozen" else spent
        seen = max(seen, meter or 0)
        running = runs if told["knows_running"] else None
        sight = Sight(
            true_ms + wall_off, true_ms - begin, told["requests_per_s"], told["wanted"],
            told["wanted"], running, meter,
        )  # fmt: skip
        if policy == "auto":
            allowed = guard.ceiling(sight)
        else:
            purse.look(sight)
            allowed = purse.allow(sight, told["wanted"])
        assert allowed >= 0
        runs = int(allowed * told["uses"])
    pay(runs, true_ms + terms.lease_ms)
    assert max(paid.values()) <= cap


@given(
    start=st.sampled_from(MOMENTS),
    least=st.integers(1, 3),
    spare=st.integers(0, 10**5),
    wanted=st.lists(st.integers(0, 10**6), min_size=5, max_size=60),
)
def test_with_right_clocks_and_a_meter_the_fewest_replicas_always_run(
    start: str, least: int, spare: int, wanted: list[int]
) -> None:
    length = 36 * HOUR_MS
    period_of = spans_of(length, ms(start) - HOUR_MS)
    terms = Terms(NANO, least * NANO * length + spare * NANO * 1000, period_of, least)
    guard = Auto(terms)
    now_ms, spent = ms(start), 0
    for number, wants in enumerate(wanted * 8):
        runs = guard.ceiling(Sight(now_ms, now_ms, 1.0, wants, wants, least, spent))
        assert runs >= least, number
        now_ms += 300_000
        spent += min(runs, max(wants, least)) * NANO * 300_000


def test_the_shell_is_the_formula() -> None:
    length, lease = 10 * HOUR_MS, 300_000
    terms = Terms(2 * NANO, 100 * NANO * HOUR_MS, spans_of(length, 0), 2, lease_ms=lease)
    purse = Purse(terms)
    first = Sight(0, 0, 0.0, 5, 5, 5, 0)
    purse.look(first)
    # (100 - 2 * 2 * (10 - 1/12)) / (2 / 12) = 362
    assert purse.allow(first, UNBOUNDED) == 362
    later = Sight(9 * HOUR_MS, 9 * HOUR_MS, 0.0, 5, 5, 5, 90 * NANO * HOUR_MS)
    purse.look(later)
    assert purse.left(9 * HOUR_MS) == 10 * NANO * HOUR_MS
    # (100 - 90 - 4 * 11/12) / (2 / 12) = 38
    assert purse.allow(later, UNBOUNDED) == 38
    assert purse.allow(later, 7) == 7


@given(
    cap=st.integers(0, 10**24),
    spent=st.integers(0, 10**24),
    price=st.integers(1, 100 * NANO),
    passed_ms=st.integers(0, 31 * DAY_MS - 1),
    most=st.integers(0, 10**9),
)
def test_the_safe_ceiling_lasts_until_the_period_ends_and_one_more_would_not(
    cap: int, spent: int, price: int, passed_ms: int, most: int
) -> None:
    terms = Terms(price, cap, spans_of(31 * DAY_MS, 0), most=most)
    found = safe_ceiling(terms, spent, passed_ms)
    cost = price * (31 * DAY_MS - passed_ms)
    assert 0 <= found <= most
    assert found == 0 or spent + found * cost <= cap
    assert found == most or spent + (found + 1) * cost > cap


def test_a_month_is_one_of_utc_whatever_the_clocks_on_the_wall_do() -> None:
    october = utc_month(ms("2026-10-25T03:00+01:00"))
    assert october == (ms("2026-10-01T00:00+00:00"), ms("2026-11-01T00:00+00:00"))
    assert october.end_ms - october.start_ms == 31 * DAY_MS
    berlin = datetime(2026, 10, 25, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert utc_day(round(berlin.timestamp() * 1000)).start_ms == ms("2026-10-25T00:00+00:00")
    assert utc_month(ms("2028-02-29T23:59:59.999+00:00")).end_ms == ms("2028-03-01T00:00+00:00")
    assert utc_month(0).start_ms == round(datetime(1970, 1, 1, tzinfo=UTC).timestamp())


@given(
    wanted=st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 5)), min_size=1, max_size=30),
    least=st.integers(0, 3),
    replica_h=st.floats(0, 5_000),
)
def test_the_level_spends_what_there_is(
    wanted: list[tuple[float, float]], least: int, replica_h: float
) -> None:
    level = water_level(wanted, least, replica_h)

    def spend(at: float) -> float:
        return sum(max(least, min(each, at)) * hours for each, hours in wanted)

    if level == float("inf"):
        assert spend(level) <= replica_h
    elif level > least:
        assert spend(level) == pytest.approx(replica_h)
    else:
        assert spend(least) >= replica_h - 1e-6


def test_what_a_lease_reaches_into_is_the_next_period_s_to_pay() -> None:
    """A full purse in the last minute: who takes all of it takes it from the next month too."""
    terms = Terms(NANO, 10 * NANO * HOUR_MS, spans_of(DAY_MS, 0), least=0)
    purse = Purse(terms)
    last = Sight(DAY_MS - 10_000, DAY_MS - 10_000, 0.0, 0, 0, 0, 0)
    purse.look(last)
    # All of 10 USD in ten seconds would be 3,600 replicas; 120 for the lease of 300 s in the next.
    assert purse.allow(last, UNBOUNDED) == 120


def test_a_meter_that_stands_still_while_replicas_run_is_not_believed() -> None:
    terms = Terms(NANO, 10 * NANO * HOUR_MS, spans_of(DAY_MS, 0), least=0)
    purse = Purse(terms)
    for number in range(2):
        at_ms = number * 300_000
        sight = Sight(at_ms, at_ms, 0.0, 12, 12, 12 if number else 0, 0)
        purse.look(sight)
        purse.allow(sight, 12)
    assert purse.left(0) == (10 - 1) * NANO * HOUR_MS
    stopped = Sight(600_000, 600_000, 0.0, 0, 0, 0, NANO * HOUR_MS)
    purse.look(stopped)
    assert purse.left(0) == (10 - 1) * NANO * HOUR_MS, "what it says later was taken for paid"
