"""A guard over an engine that is played: whoever dies, whatever clocks and meters say, no month
costs more than its budget, and the books say what was paid."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mlbroker.broker.engines.interface import Life, Seen
from mlbroker.broker.errors import CloudError, MlbrokerError, RefusedError
from mlbroker.broker.ledger import Admission, Ledger, Verdict, open_ledger
from mlbroker.broker.services.books import Account, Books
from mlbroker.broker.services.guard import Guard, Moment, Rules, asked
from mlbroker.broker.services.journal import LOOKS, Journal, Look
from mlbroker.policies.service.interface import HOUR_MS, Terms, usd
from mlbroker.policies.service.periods import DAY_MS, utc_day, utc_month

START_MS = 1_793_491_200_000 + 29 * DAY_MS + 23 * HOUR_MS  # an hour before December
NANO = 10**9
LEASE_S, SLACK_S = 240.0, 60.0


@dataclass
class Played:
    """An engine: wants `wanted`, and starts and ends replicas at once; `obeys_after_s` its maximum
    was lowered."""

    now_s: float = START_MS / 1000
    own: int = 1
    wanted: int = 1
    lease: tuple[float, int, float, int] | None = None  # since, most, until, then
    lives: list[list[Any]] = field(default_factory=list)
    obeys_after_s: float = 0.0
    silent: bool = False
    dead: bool = False
    foreign: int = 0
    told: list[tuple[int, int]] = field(default_factory=list)
    lowered_s: float | None = None

    cloud, region = "local", "local"
    slack_s, minimum_s, remembers_s = SLACK_S, 0.0, 1800.0

    def maximum(self) -> int:
        if self.lease is None:
            return self.own
        _, most, until_s, then = self.lease
        return most if self.now_s < until_s else then

    def look(self) -> Seen:
        if self.dead:
            raise CloudError("the engine does not answer")
        lives = [Life(*each) for each in self.lives]
        running = self.running()
        told = None if self.silent else lives
        return Seen(self.now_s, running, running, self.maximum(), told, self.wanted, None,
                    self.foreign)  # fmt: skip

    def allow(self, least: int, most: int, until_s: float, then: int) -> None:
        self.told.append((most, then))
        self.lease = (self.now_s, most, until_s, then)

    def running(self) -> int:
        return sum(until is None for _, _, until in self.lives)

    def go_on(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self._scale()
            until_s = self.lease[2] if self.lease else end_s
            steps = [end_s]
            steps += [until_s] if self.now_s < until_s else []
            if self.lowered_s is not None and self.running() > self.maximum():
                steps.append(self.lowered_s + self.obeys_after_s)
            self.now_s = min(step for step in steps if step > self.now_s)
        self._scale()

    def _scale(self) -> None:
        over = self.running() - self.maximum()
        if over > 0:
            self.lowered_s = self.now_s if self.lowered_s is None else self.lowered_s
            if self.now_s - self.lowered_s < self.obeys_after_s:
                return
        self.lowered_s = None
        aim = min(max(self.wanted, 0), self.maximum())
        while self.running() < aim:
            self.lives.append([str(len(self.lives)), self.now_s, None])
        for life in [each for each in self.lives if each[2] is None][aim:]:
            life[2] = self.now_s

    def units(self, start_ms: int, end_ms: int, price: int) -> int:
        """What the replicas cost in a period, to the millisecond, rounded down."""
        found = 0.0
        for _, since_s, until_s in self.lives:
            end_s = self.now_s if until_s is None else until_s
            found += max(min(end_s, end_ms / 1000) - max(since_s, start_ms / 1000), 0.0)
        return int(found * 1000) * price


@dataclass
class World:
    """A state folder, an engine and clocks; guards come and go."""

    folder: Path
    engine: Played
    rules: Rules
    wall_off_ms: int = 0
    boot: int = 0
    boot_at_ms: int = START_MS - DAY_MS
    warned: list[str] = field(default_factory=list)
    admission: Admission | None = None
    at: str = "here"

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.folder)

    def clock(self) -> Moment:
        now_ms = round(self.engine.now_s * 1000)
        return Moment(now_ms + self.wall_off_ms, now_ms - self.boot_at_ms, str(self.boot))

    def guard(self) -> Guard:
        account = Account(
            "svc", "tester", None, "local", "local", "replica", Decimal(1), "played", self.at
        )
        books = Books(self.ledger, account, lambda _: self.admission)
        journal = Journal(self.folder, "svc")
        journal.folder.mkdir(parents=True, exist_ok=True)
        return Guard(self.rules, self.engine, journal, books, self.clock, self.warned.append)


def rules_of(month_usd: int, day_usd: int | None = None, least: int = 1) -> Rules:
    terms = {
        name: Terms(
            NANO, cap * NANO * HOUR_MS, period_of, least, 1000,
            round((LEASE_S + SLACK_S) * 1000), round(SLACK_S * 1000),
        )
        for name, cap, period_of in [("month", month_usd, utc_month), ("day", day_usd, utc_day)]
        if cap is not None
    }  # fmt: skip
    return Rules(terms, 10.0, LEASE_S)


step = st.fixed_dictionaries(
    {
        "elapsed_s": st.one_of(
            st.sampled_from([1.0, 48.0, LEASE_S]), st.floats(240.0, 400.0),
            st.sampled_from([3600.0, 5 * 86_400.0, 40 * 86_400.0]),
        ),
        "wanted": st.sampled_from([0, 1, 5, 400, 1000]),
        "obeys_after_s": st.sampled_from([0.0, SLACK_S / 2, SLACK_S - 1]),
        "jump_ms": st.sampled_from([0, 0, 0, HOUR_MS, -HOUR_MS, 40 * DAY_MS, -40 * DAY_MS]),
        "does": st.sampled_from(
            ["looks", "looks", "looks", "dies", "silent", "unheard", "starts the machine"]
        ),
    }
)  # fmt: skip


@settings(max_examples=60, phases=[Phase.explicit, Phase.generate])
@given(
    steps=st.lists(step, min_size=1, max_size=16),
    spare=st.integers(0, 60),
    daily=st.booleans(),
    least=st.integers(0, 2),
)
def test_no_budget_is_passed_whoever_dies(
    steps: list[dict[str, Any]], spare: int, daily: bool, least: int
) -> None:
    rules = rules_of(least * 744 + spare, least * 24 + 5 if daily else None, least)
    with TemporaryDirectory() as folder:
        world = World(Path(folder), Played(own=least, wanted=least), rules)
        engine, guard = world.engine, world.guard()
        for told in steps:
            engine.silent, engine.dead = told["does"] == "silent", told["does"] == "unheard"
            engine.wanted, engine.obeys_after_s = told["wanted"], told["obeys_after_s"]
            if told["does"] == "dies":
                guard = world.guard()
            if told["does"] == "starts the machine":
                # Its clock may not be wrong then: no other is left.
                world.boot, world.boot_at_ms = world.boot + 1, round(engine.now_s * 1000) - 1000
                world.wall_off_ms = 0
                guard = world.guard()
            elif world.boot == 0:
                world.wall_off_ms += told["jump_ms"]
            with suppress(CloudError):
                guard.look()
            engine.go_on(told["elapsed_s"])
        engine.go_on(45 * 86_400.0)
        if not engine.told:
            return
        for name, terms in rules.terms.items():
            period, end_ms = terms.period_of(START_MS), round(engine.now_s * 1000)
            while period.start_ms < end_ms:
                spent = engine.units(period.start_ms, period.end_ms, NANO)
                assert spent <= terms.cap, (name, period)
                period = terms.period_of(period.end_ms)
        assert world.ledger.verify() is None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, Played(), rules_of(744 + 100))


def test_a_raise_is_in_the_books_before_the_engine_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, held = world.guard(), []
    told: Callable[..., None] = world.engine.allow

    def allow(least: int, most: int, until_s: float, then: int) -> None:
        (run,) = world.ledger.open_runs()
        held.append((most, run.held_usd))
        told(least, most, until_s, then)

    monkeypatch.setattr(world.engine, "allow", allow)
    for wanted in (1, 8, 60, 20):
        world.engine.wanted = wanted
        guard.look()
        world.engine.go_on(48.0)
    assert [most for most, _ in held][1:3] != [held[0][0]] * 2
    for most, usd_held in held:
        assert usd_held >= Decimal(most) * Decimal(300) / 3600
    runs = world.ledger.runs()
    assert sum(run.held_usd for run in runs) <= 844
    assert {run.attempt.machine_id for run in runs} == {"played"}


def test_a_new_guard_goes_on_with_what_was_spent(world: World) -> None:
    guard = world.guard()
    for _ in range(20):
        world.engine.wanted = 6
        guard.look()
        world.engine.go_on(48.0)
    paid = guard.look().spent["month"]
    assert paid == pytest.approx(world.engine.units(0, 10**15, NANO), rel=1e-6)
    world.engine.go_on(600.0)
    again = world.guard().look()
    assert again.spent["month"] == pytest.approx(world.engine.units(0, 10**15, NANO), rel=1e-6)
    assert not world.warned


def test_what_a_silent_engine_ran_is_charged_as_allowed(world: World) -> None:
    guard = world.guard()
    world.engine.wanted = 3
    first = guard.look()
    world.engine.go_on(100.0)
    world.engine.silent = True
    assert guard.look().spent["month"] == first.most * NANO * 100_000


def test_the_guard_s_end_leaves_the_safe_ceiling_and_settles(world: World) -> None:
    guard = world.guard()
    for _ in range(5):
        world.engine.wanted = 50
        guard.look()
        world.engine.go_on(48.0)
    look = guard.look(ends=True)
    most, then = world.engine.told[-1]
    assert most == look.most <= then
    assert 1 <= most <= 844 // 744
    assert world.ledger.open_runs() == []
    spent = sum((run.spent_usd for run in world.ledger.runs()), Decimal(0))
    paid = usd(world.engine.units(0, 10**15, NANO))
    assert paid <= spent <= paid + Decimal("0.001")


def test_no_guard_begins_over_replicas_that_are_not_the_engine_s(world: World) -> None:
    world.engine.foreign = 2
    with pytest.raises(RefusedError, match="2 replicas"):
        world.guard().look()
    assert not world.engine.told
    assert world.ledger.runs() == []
    world.engine.foreign = 0
    guard = world.guard()
    guard.look()
    world.engine.foreign = 1
    guard.look()
    guard.look()
    assert [text for text in world.warned if "left alone" in text] == [
        "1 replica there the engine did not start: left alone, and counted as paid for"
    ]


def test_a_half_written_look_is_cut_off_and_a_damaged_one_is_told(world: World) -> None:
    world.guard().look()
    path = world.folder / "services" / "svc" / LOOKS
    path.write_bytes(path.read_bytes() + b'{"sight": [1')
    world.engine.go_on(48.0)
    world.guard().look()
    assert len(path.read_bytes().splitlines()) == 2
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(MlbrokerError, match="line 1 is damaged"):
        world.guard()


def test_a_guard_that_died_between_two_reservations_leaves_none_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, engine = world.guard(), world.engine
    for wanted in (2, 2, 2):
        engine.wanted = wanted
        guard.look()
        engine.go_on(48.0)
    (first,) = world.ledger.open_runs()
    engine.wanted = 60

    def dies(journal: Journal, look: Look) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            guard.look()
    runs = world.ledger.runs()
    assert {run.settled for run in runs if run.run_id == first.run_id} == {True}
    assert len(runs) == 2
    engine.wanted = 1
    engine.go_on(48.0)
    look = world.guard().look()
    (held,) = world.ledger.open_runs()
    assert look.block is not None
    assert held.run_id == look.block.run_id
    # What was paid since the first was settled is the new one's to pay.
    settled = next(run.spent_usd for run in world.ledger.runs() if run.run_id == first.run_id)
    assert usd(look.block.base) == pytest.approx(settled)
    assert held.reserved_usd >= usd(look.spent["month"]) - settled


def test_what_nothing_is_known_of_is_settled_at_its_worst(world: World) -> None:
    world.engine.wanted = 5
    world.guard().look()
    (run,) = world.ledger.open_runs()
    (world.folder / "services" / "svc" / LOOKS).unlink()
    world.guard().look()
    settled = world.ledger.run(run.run_id)
    assert settled is not None
    assert settled.settled
    assert settled.spent_at_most
    assert settled.spent_usd == run.reserved_usd
    assert "settled at the most" in world.warned[0]


def test_a_policy_that_refuses_keeps_the_guard_from_beginning_and_later_from_raising(
    world: World,
) -> None:
    world.admission = lambda *_: Verdict("the day's cap is full")
    with pytest.raises(RefusedError, match="the day's cap is full"):
        world.guard().look()
    assert not world.engine.told
    world.admission = None
    guard = world.guard()
    guard.look()
    world.admission = lambda *_: Verdict("the day's cap is full")
    world.engine.wanted = 80
    world.engine.go_on(48.0)
    assert guard.look().most == 1, "the safe ceiling needs no guard"
    assert world.warned == ["not raised: the day's cap is full"]
    world.engine.go_on(48.0)
    world.admission = None
    assert guard.look().most > 1
    world.engine.go_on(48.0)
    guard.look(ends=True)
    spent = sum((run.spent_usd for run in world.ledger.runs()), Decimal(0))
    assert spent >= usd(world.engine.units(0, 10**15, NANO)), "what ran meanwhile is booked too"


def test_a_guard_at_another_place_of_a_team_s_ledger_is_not_ended(world: World) -> None:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    world.engine.now_s = now_ms / 1000
    world.guard().look()
    other = World(world.folder, world.engine, world.rules, at="elsewhere")
    (world.folder / "services" / "svc" / LOOKS).unlink()
    with pytest.raises(RefusedError, match="has a guard already, at here"):
        other.guard()
    assert len(world.ledger.open_runs()) == 1


def test_an_alarm_comes_once_an_hour_and_only_where_the_cap_would_break(tmp_path: Path) -> None:
    for month_usd, heard in ((744 + 300, True), (744 * 900, False)):
        world = World(tmp_path / str(month_usd), Played(), rules_of(month_usd))
        world.engine.now_s = (START_MS - 29 * DAY_MS) / 1000
        guard, alarms = world.guard(), []
        for number in range(400):
            world.engine.wanted = 2 if number < 150 else 20
            alarms.append(guard.alarm(guard.look()))
            world.engine.go_on(200.0)
        found = [text for text in alarms if text is not None]
        assert bool(found) is heard
        assert len(found) <= 14
        if heard:
            assert "times its usual hour, which would break the month's budget" in found[0]


def test_a_second_guard_is_refused(world: World) -> None:
    one, other = Journal(world.folder, "svc"), Journal(world.folder, "svc")
    assert one.guard() is None
    with one.guarding():
        assert other.guard() is not None
        with pytest.raises(RefusedError, match="has a guard already: process"), other.guarding():
            pass
    assert one.guard() is None


@dataclass
class ByRequests(Played):
    """Tells what a load balancer counts, and no wish of its autoscaler's."""

    rate: float | None = None
    untold: str | None = None

    def look(self) -> Seen:
        told = super().look()
        return told._replace(wanted=None, requests_per_s=self.rate, untold=self.untold)


def test_a_surge_is_seen_by_its_requests_before_the_replicas_follow(tmp_path: Path) -> None:
    engine = ByRequests(own=2, wanted=2, rate=20.0)
    world = World(tmp_path, engine, rules_of(100_000))
    guard = world.guard()
    quiet = guard.look()
    assert (quiet.sight.requests_per_s, quiet.sight.needed) == (20.0, 2)
    engine.rate = 400.0
    engine.now_s += 48
    look = guard.look()
    # Forty are needed, at 10 requests a second each, and none more runs yet.
    assert (look.running, look.sight.needed) == (quiet.running, 40)
    assert look.most > 40 > quiet.most


@pytest.mark.parametrize(
    ("running", "rate", "wanted", "expected"),
    [
        (3, 90.0, 4, (90.0, 4)),
        (3, 90.0, None, (90.0, 3)),  # below its maximum it has what it wants
        (5, 61.0, None, (61.0, 7)),
        (5, 10.0, None, (10.0, 5)),
        # Unknown is not none: who runs all that it may is taken to want twice as much.
        (5, None, None, (100.0, 10)),
        (3, None, None, (30.0, 3)),
        (5, 0.0, 0, (0.0, 0)),
    ],
)
def test_what_an_engine_does_not_tell_is_guessed_by_what_it_tells(
    running: int, rate: float | None, wanted: int | None, expected: tuple[float, int]
) -> None:
    seen = Seen(0.0, running, running, 5, [], wanted, rate)
    assert asked(seen, 10.0) == expected


def test_why_requests_are_not_known_is_said_once(tmp_path: Path) -> None:
    engine = ByRequests(untold="nobody counts")
    world = World(tmp_path, engine, rules_of(1000))
    guard = world.guard()
    for _ in range(3):
        guard.look()
        engine.now_s += 48
    assert [text for text in world.warned if "nobody counts" in text] == [
        "requests are not known, and are guessed by the replicas: nobody counts"
    ]


def test_a_guard_that_starts_reads_its_journal_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, Played(own=1, wanted=1), rules_of(1000))
    world.guard().look()
    reads = []
    looks = Journal.looks

    def counted(self: Journal, last: bool = False) -> Iterator[Look]:
        reads.append(last)
        return looks(self, last)

    monkeypatch.setattr(Journal, "looks", counted)
    world.guard()
    assert reads == [False]
