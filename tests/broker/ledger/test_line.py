"""Who goes first at a machine of the user's own, and what a run that waits holds."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.ledgers import Books, LedgerFile

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import IllegalStep, Ledger, Run, State, Verdict
from mlbroker.broker.queue.line import STARTING_S, Line
from mlbroker.broker.queue.terms import job_of
from mlbroker.policies.queue.interface import Action, Cloud

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BODY = {
    "job": "j", "user": "u", "cap_usd": "5", "reserved_usd": "5",
    "candidate": {"cloud": "ssh", "instance_type": "box"},
}  # fmt: skip
AT = "ssh/box"
PLACES = {AT: 1}


def intent(number: int = 1, name: str = "box") -> dict[str, Any]:
    return {
        "attempt": number, "token": f"t{number}", "cloud": "ssh", "region": "on-prem", "zone": None,
        "instance_type": name, "market": "on_demand", "nodes": 1, "price_per_hour_usd": "1",
        "kill_at": NOW.isoformat(), "worst_usd": "1", "account": "",
    }  # fmt: skip


def passes(accounts: Any, approvals: Any, now: Any) -> Verdict:
    return Verdict()


@dataclass
class Queue:
    """Runs of one machine, opened a second apart."""

    ledger: Ledger
    opened: list[str] = field(default_factory=list)

    def open(self, run_id: str) -> Run:
        self.opened.append(run_id)
        at = NOW + timedelta(seconds=len(self.opened))
        return self.ledger.reserve(at, run_id, BODY, waits=lambda runs: True)

    def start(self, run_id: str, admission: Any = passes) -> Run:
        return self.ledger.start(NOW, run_id, intent(), admission, self.turn_of(run_id))

    def turn_of(self, run_id: str) -> Any:
        return lambda runs: Line.at(PLACES, runs, NOW).starts_at(run_id) == AT

    def order(self, now: datetime = NOW) -> list[str]:
        line = Line.at(PLACES, self.ledger.open_runs(), now)
        return [*(each.job_id for each in line.who(Action.START)), *line.order]


@pytest.fixture
def queue(books: Books) -> Queue:
    return Queue(books.open())


def test_what_waits_holds_no_money_until_it_starts(queue: Queue) -> None:
    waits = queue.open("a")
    assert (waits.state, waits.held_usd) == (State.QUEUED, 0)
    assert [account.usd for account in queue.ledger.accounts()] == [0]
    began = queue.start("a")
    assert (began.state, began.held_usd) == (State.INTENDED, 5)
    assert [account.usd for account in queue.ledger.accounts()] == [5]
    assert queue.ledger.verify() is None


def test_only_the_first_may_start_and_nobody_while_one_starts(queue: Queue) -> None:
    for run_id in ("a", "b", "c"):
        queue.open(run_id)
    assert queue.start("b").state is State.QUEUED
    assert queue.start("a").state is State.INTENDED
    # Its place is not seen as taken yet.
    assert queue.start("b").state is State.QUEUED
    for kind, body in (
        ("armed", {}),
        ("created", {"machine_id": "m", "started_at": NOW.isoformat()}),
    ):
        queue.ledger.append(NOW, "a", kind, body)
    # Now it is, and no place is left.
    assert queue.start("b").state is State.QUEUED
    two = Line.at({AT: 2}, queue.ledger.open_runs(), NOW)
    assert (two.starts_at("b"), two.starts_at("c")) == (AT, None)
    assert queue.order() == ["b", "c"]


def test_who_died_starting_is_not_waited_for(queue: Queue) -> None:
    queue.open("a")
    queue.open("b")
    queue.start("a")
    soon, late = NOW + timedelta(seconds=STARTING_S - 1), NOW + timedelta(seconds=STARTING_S + 1)
    runs = queue.ledger.open_runs()
    assert Line.at(PLACES, runs, soon).starts_at("b") is None
    assert Line.at(PLACES, runs, late).starts_at("b") == AT


def test_a_lost_race_gives_the_money_back_and_keeps_the_place_in_the_line(queue: Queue) -> None:
    queue.open("a")
    queue.open("b")
    queue.start("a")
    for kind, body in (
        ("armed", {}),
        ("refused", {"why": "no_capacity", "made_nothing": True}),
        ("absent", {"why": "no_capacity"}),
        ("queued", {}),
    ):
        run = queue.ledger.append(NOW, "a", kind, body)
    assert (run.held_usd, run.details["reserved_usd"]) == (0, "5")
    assert queue.order() == ["a", "b"]
    again = queue.ledger.start(NOW, "a", intent(2), passes, queue.turn_of("a"))
    assert (again.held_usd, len(again.attempts)) == (5, 2)


def test_what_it_spent_before_it_waited_stays_on_its_account(queue: Queue) -> None:
    queue.open("a")
    queue.start("a")
    moves = {
        "armed": {},
        "created": {"machine_id": "m", "started_at": NOW.isoformat()},
        "confirmed": {},
        "stop_requested": {"why": "yield"},
        "ended": {"why": "yield"},
        "collected": {},
        "terminating": {},
        "terminated": {"why": "yield", "ended_at": NOW.isoformat(), "charged_usd": "0.5"},
        "queued": {},
    }
    for kind, body in moves.items():
        run = queue.ledger.append(NOW, "a", kind, body)
    assert (run.held_usd, run.stop_requested) == (Decimal("0.5"), None)
    costly = intent(2) | {"worst_usd": "4.6"}
    with pytest.raises(IllegalStep, match="more than is left"):
        queue.ledger.start(NOW, "a", costly, passes, queue.turn_of("a"))
    assert queue.ledger.open_runs()[0].state is State.QUEUED


def test_caps_are_asked_again_when_it_starts(queue: Queue) -> None:
    queue.open("a")
    with pytest.raises(RefusedError, match="cap"):
        queue.start("a", lambda accounts, approvals, now: Verdict("the cap is full"))
    assert queue.order() == ["a"]


def test_an_approval_is_used_when_it_starts_and_once(queue: Queue) -> None:
    queue.ledger.note(NOW, "approved", {"id": "ok"})

    def takes(accounts: Any, approvals: Any, now: Any) -> Verdict:
        return Verdict(approval=approvals[0].body["id"]) if approvals else Verdict("none is left")

    queue.open("a")
    assert len(queue.ledger.unused_approvals()) == 1
    queue.start("a", takes)
    assert queue.ledger.unused_approvals() == []
    for kind in ("armed", "refused", "absent", "queued"):
        queue.ledger.append(NOW, "a", kind, {"why": "no_capacity"})
    queue.open("b")
    assert queue.ledger.start(NOW, "a", intent(2), takes, queue.turn_of("a")).held_usd == 5
    used = [fact for fact in queue.ledger.facts("") if fact.kind == "approval_used"]
    assert [fact.body["run_id"] for fact in used] == ["a"]


def test_it_counts_in_the_month_in_which_it_starts(tmp_path: Path) -> None:
    # Of a file, which has no clock of its own.
    queue = Queue(LedgerFile(tmp_path).open())
    queue.open("a")
    later = NOW + timedelta(days=3)
    run = queue.ledger.start(later, "a", intent(), passes, lambda runs: True)
    assert run.counts_at == later


def test_people_may_hold_it_and_put_it_first(queue: Queue) -> None:
    for run_id in ("a", "b", "c"):
        queue.open(run_id)
    queue.ledger.append(NOW, "a", "held", {})
    queue.ledger.append(NOW, "c", "raised", {})
    assert queue.order() == ["c", "b"]
    queue.ledger.append(NOW, "a", "released", {})
    assert queue.order() == ["c", "a", "b"]


def terms(value: str = "1", *, yields: bool = False) -> dict[str, Any]:
    return {"queue": {"value_usd_per_h": value, "team": None, "yields": yields, "places": [AT]}}


def predicted(hours: float) -> dict[str, Any]:
    return {"prediction": {"duration_h": [hours / 2, hours, 2 * hours], "command_s": None}}


def on_the_machine(books: Queue, run_id: str, **body: Any) -> None:
    books.ledger.reserve(NOW, run_id, {**BODY, **body})
    books.ledger.append(NOW, run_id, "intended", intent())
    created = {"machine_id": "m", "started_at": NOW.isoformat()}
    for kind in ("armed", "created", "confirmed", "running"):
        books.ledger.append(NOW, run_id, kind, created if kind == "created" else {})


def waits(books: Queue, run_id: str, **body: Any) -> None:
    books.ledger.reserve(NOW, run_id, {**BODY, **body}, waits=lambda runs: True)


def test_who_is_worth_more_gets_the_place_of_one_that_yields(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(yields=True), **predicted(10))
    waits(queue, "dear", **terms("50"), **predicted(0.5))
    line = Line.at(PLACES, queue.ledger.open_runs(), NOW)
    assert [each.job_id for each in line.who(Action.YIELD)] == ["long"]
    assert line.starts_at("dear") == AT
    # Asked once, it is as good as gone: nobody else is asked in its place.
    queue.ledger.append(NOW, "long", "stop_requested", {"why": "yield"})
    line = Line.at(PLACES, queue.ledger.open_runs(), NOW)
    assert (line.who(Action.YIELD), line.starts_at("dear")) == ([], AT)


def test_nobody_yields_without_a_checkpoint_or_after_a_promise(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(yields=False), **predicted(10))
    waits(queue, "dear", **terms("50"), **predicted(0.5))
    assert Line.at(PLACES, queue.ledger.open_runs(), NOW).changes == ()


def test_a_promise_holds_until_it_queues_again(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(yields=True), **predicted(10))
    waits(queue, "dear", **terms("50"), **predicted(0.5))
    queue.ledger.append(NOW, "long", "promoted", {})
    assert Line.at(PLACES, queue.ledger.open_runs(), NOW).changes == ()


def test_a_deadline_that_cannot_wait_goes_to_a_rented_machine(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(yields=False), **predicted(10))
    soon = {"deadline_at": (NOW + timedelta(hours=1)).isoformat()}
    waits(queue, "due", **terms(), **predicted(0.4), **soon)
    here = Line.at(PLACES, queue.ledger.open_runs(), NOW)
    assert here.of("due") is None
    rents = Line.at(PLACES, queue.ledger.open_runs(), NOW, Cloud(3.0, 0.1)).of("due")
    assert rents is not None
    assert rents.action is Action.BURST


def test_what_was_put_first_by_hand_is_not_overtaken(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(yields=True), **predicted(10))
    waits(queue, "dear", **terms("50"), **predicted(0.5))
    waits(queue, "first", **terms("0"), **predicted(5))
    queue.ledger.append(NOW, "first", "raised", {})
    line = Line.at(PLACES, queue.ledger.open_runs(), NOW)
    assert (line.changes, line.order) == ((), ("first", "dear"))


def test_work_done_counts_and_what_overruns_is_not_taken_for_done(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(), **predicted(10))
    (run,) = queue.ledger.open_runs()
    half = job_of(run, NOW + timedelta(hours=4))
    # The log-normal of median 10 and 90th percentile 20, of those that outlive 4 hours: 96 % do.
    assert half.attained_h == 4
    assert (half.left_h, half.left_p90_h) == pytest.approx((6.31, 16.26), abs=0.01)
    # Of three times the median one in fifty comes so far, and has about five hours left.
    over = job_of(run, NOW + timedelta(hours=30))
    assert (over.left_h, over.left_p90_h) == pytest.approx((4.79, 16.94), abs=0.01)


def test_a_wish_to_yield_that_comes_late_is_void(queue: Queue) -> None:
    waits(queue, "a")
    wish = {"why": "yield"}
    assert queue.ledger.append(NOW, "a", "stop_requested", wish).stop_requested is None
    on_the_machine(queue, "b")
    queue.ledger.append(NOW, "b", "stop_requested", {"why": "stopped"})
    assert queue.ledger.append(NOW, "b", "stop_requested", wish).stop_requested == "stopped"


def test_who_is_unattended_makes_no_room(queue: Queue) -> None:
    on_the_machine(queue, "long", **terms(yields=True), **predicted(10))
    waits(queue, "dear", **terms("50"), **predicted(0.5))
    runs = queue.ledger.open_runs()
    assert Line.at(PLACES, runs, NOW, unattended=frozenset({"long"})).changes == ()
    queue.ledger.append(NOW, "long", "stop_requested", {"why": "yield"})
    runs = queue.ledger.open_runs()
    assert Line.at(PLACES, runs, NOW, unattended=frozenset({"long"})).starts_at("dear") is None
    assert Line.at(PLACES, runs, NOW).starts_at("dear") == AT
