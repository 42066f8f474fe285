"""A guard that dies at any time, an engine that obeys late: no period costs more than its cap."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.policies.service.test_ceiling import MOMENTS, NANO, ms

from mlbroker.policies.service.auto import Auto
from mlbroker.policies.service.ceiling import Purse
from mlbroker.policies.service.interface import HOUR_MS, UNBOUNDED, Period, Sight, Terms
from mlbroker.policies.service.periods import DAY_MS, spans_of, utc_day, utc_month

LEASE_MS, SLACK_MS = 300_000, 60_000


class LateEngine:
    """Its maximum falls back by itself after the lease, and is obeyed within the slack; then
    everything runs that may."""

    def __init__(self, terms: Terms, now_ms: int, most: int) -> None:
        self.terms, self.now_ms = terms, now_ms
        self.maxima = [(now_ms, most)]
        self.paid: dict[Period, int] = {}
        self.spent = 0

    def allow(self, most: int, then: int) -> None:
        until_ms = self.now_ms + self.terms.lease_ms - self.terms.slack_ms
        self.maxima = [each for each in self.maxima if each[0] <= self.now_ms]
        self.maxima += [(self.now_ms, most), (until_ms, then)]

    def running(self, at_ms: int) -> int:
        """Of all maxima in force within the slack the highest."""
        edges = [*self.maxima, (at_ms + 1, 0)]
        return max(
            most
            for (since_ms, most), (until_ms, _) in pairwise(edges)
            if since_ms <= at_ms and until_ms > at_ms - self.terms.slack_ms
        )

    def go_on(self, until_ms: int, uses: float) -> None:
        for end_ms in sorted({*self._edges(until_ms), until_ms}):
            replicas = int(self.running(self.now_ms) * uses)
            while self.now_ms < end_ms:
                period = self.terms.period_of(self.now_ms)
                to_ms = min(end_ms, period.end_ms)
                units = replicas * self.terms.nano_usd_per_h * (to_ms - self.now_ms)
                self.paid[period] = self.paid.get(period, 0) + units
                self.spent += units
                self.now_ms = to_ms

    def _edges(self, until_ms: int) -> Iterator[int]:
        for at_ms, _ in self.maxima:
            for edge in (at_ms, at_ms + self.terms.slack_ms):
                if self.now_ms < edge < until_ms:
                    yield edge


look = st.fixed_dictionaries(
    {
        "elapsed_ms": st.one_of(
            st.integers(1, LEASE_MS - SLACK_MS),
            st.just(LEASE_MS - SLACK_MS),
            st.integers(LEASE_MS - SLACK_MS, LEASE_MS + SLACK_MS),
            st.integers(LEASE_MS, 40 * DAY_MS),
        ),
        "jump_ms": st.one_of(
            st.just(0), st.just(HOUR_MS), st.just(-HOUR_MS),
            st.integers(-400 * DAY_MS, 400 * DAY_MS),
        ),
        "meter": st.sampled_from(["right", "right", "silent", "frozen"]),
        "wanted": st.sampled_from([0, 1, 5, 10**9]),
        "uses": st.sampled_from([0.0, 0.5, 1.0, 1.0]),
        "knows_running": st.booleans(),
    }
)  # fmt: skip


@settings(max_examples=1000, phases=[Phase.generate])
@given(
    start=st.sampled_from(MOMENTS),
    looks=st.lists(look, min_size=1, max_size=30),
    least=st.integers(0, 3),
    spare=st.integers(0, 10**6),
    price=st.integers(1, 30 * NANO),
    daily=st.booleans(),
    policy=st.sampled_from(["auto", "whatever"]),
)
def test_no_period_costs_more_than_its_cap_though_guards_die_and_engines_obey_late(
    start: str,
    looks: list[dict[str, Any]],
    least: int,
    spare: int,
    price: int,
    daily: bool,
    policy: str,
) -> None:
    longest = DAY_MS if daily else 31 * DAY_MS
    cap = least * price * longest + spare * price * 1000
    terms = Terms(
        price, cap, utc_day if daily else utc_month, least, lease_ms=LEASE_MS, slack_ms=SLACK_MS
    )
    guard, purse = Auto(terms), Purse(terms)
    begin_ms = ms(start)
    engine = LateEngine(terms, begin_ms, least)
    seen = wall_off = 0
    for number, told in enumerate(looks):
        if number:
            engine.go_on(engine.now_ms + told["elapsed_ms"], told["uses"])
            wall_off += told["jump_ms"]
        meter = {"silent": None, "frozen": seen, "right": engine.spent}[told["meter"]]
        seen = max(seen, meter or 0)
        running = engine.running(engine.now_ms) if told["knows_running"] else None
        sight = Sight(
            engine.now_ms + wall_off, engine.now_ms - begin_ms, 1.0, told["wanted"],
            told["wanted"], running, meter,
        )  # fmt: skip
        if policy == "auto":
            most, safe = guard.ceiling(sight), guard.purse.safe()
        else:
            purse.look(sight)
            most, safe = purse.allow(sight, told["wanted"]), purse.safe()
        engine.allow(most, safe)
    # Nobody looks any more, for longer than any month.
    engine.go_on(engine.now_ms + 70 * DAY_MS, 1.0)
    assert max(engine.paid.values()) <= cap


@given(
    start=st.sampled_from(MOMENTS),
    least=st.integers(1, 3),
    spare=st.integers(0, 10**5),
    wanted=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(1, LEASE_MS - SLACK_MS)), min_size=1
    ),
)
def test_the_fewest_replicas_may_always_run_with_a_guard_or_without(
    start: str, least: int, spare: int, wanted: list[tuple[int, int]]
) -> None:
    length = 36 * HOUR_MS
    terms = Terms(
        NANO, least * NANO * length + spare * NANO * 1000, spans_of(length, ms(start) - HOUR_MS),
        least, lease_ms=LEASE_MS, slack_ms=SLACK_MS,
    )  # fmt: skip
    purse, engine = Purse(terms), LateEngine(terms, ms(start), least)
    for wants, elapsed_ms in wanted:
        sight = Sight(
            engine.now_ms, engine.now_ms, 1.0, wants, wants, engine.running(engine.now_ms),
            engine.spent,
        )  # fmt: skip
        purse.look(sight)
        most = purse.allow(sight, max(wants, least))
        assert most >= least
        assert purse.safe() >= least
        engine.allow(most, purse.safe())
        engine.go_on(engine.now_ms + elapsed_ms, 1.0)


def test_what_is_safe_is_what_is_left_over_the_time_that_is_left() -> None:
    terms = Terms(NANO, 100 * NANO * HOUR_MS, spans_of(10 * HOUR_MS, 0), 2, lease_ms=LEASE_MS)
    purse = Purse(terms)
    sight = Sight(9 * HOUR_MS, 9 * HOUR_MS, 0.0, 5, 5, 5, 0)
    purse.look(sight)
    assert purse.allow(sight, UNBOUNDED) > 900
    purse.grant(36)
    # (100 - 36 / 12) / (1 - 1 / 12) = 105, but the next period begins with 10 at most.
    assert purse.safe() == 10
    far = Purse(terms._replace(period_of=spans_of(10 * HOUR_MS, -HOUR_MS)))
    sight = sight._replace(wall_ms=0, steady_ms=0, spent=50 * NANO * HOUR_MS)
    far.look(sight._replace(spent=0))
    far.grant(0)
    far.look(sight)
    far.grant(0)
    # (100 - 50) / (9 - 1 / 12) = 5.6
    assert far.safe() == 5
