"""Who goes first at a machine of the user's own, and what a run that waits holds."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import Cli, wait_for

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import IllegalStep, Ledger, Run, State, Verdict, open_ledger
from mlbroker.broker.runs.line import STARTING_S, Line

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BODY = {
    "job": "j", "user": "u", "cap_usd": "5", "reserved_usd": "5",
    "candidate": {"cloud": "ssh", "instance_type": "box"},
}  # fmt: skip
AT = "ssh/box"


def intent(number: int = 1, name: str = "box") -> dict[str, Any]:
    return {
        "attempt": number, "token": f"t{number}", "cloud": "ssh", "region": "on-prem", "zone": None,
        "instance_type": name, "market": "on_demand", "nodes": 1, "price_per_hour_usd": "1",
        "kill_at": NOW.isoformat(), "worst_usd": "1", "account": "",
    }  # fmt: skip


def passes(accounts: Any, approvals: Any) -> Verdict:
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
        return lambda runs: Line.at(AT, runs, NOW).is_turn_of(run_id)

    def order(self, now: datetime = NOW) -> list[str]:
        return [run.run_id for run in Line.at(AT, self.ledger.open_runs(), now).waiting]


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(open_ledger(tmp_path))


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
    assert queue.start("c").state is State.QUEUED
    assert queue.start("b").state is State.INTENDED
    assert queue.order() == ["c"]


def test_who_died_starting_is_not_waited_for(queue: Queue) -> None:
    queue.open("a")
    queue.open("b")
    queue.start("a")
    soon, late = NOW + timedelta(seconds=STARTING_S - 1), NOW + timedelta(seconds=STARTING_S + 1)
    runs = queue.ledger.open_runs()
    assert not Line.at(AT, runs, soon).is_turn_of("b")
    assert Line.at(AT, runs, late).is_turn_of("b")


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
        queue.start("a", lambda accounts, approvals: Verdict("the cap is full"))
    assert queue.order() == ["a"]


def test_an_approval_is_used_when_it_starts_and_once(queue: Queue) -> None:
    queue.ledger.note(NOW, "approved", {"id": "ok"})

    def takes(accounts: Any, approvals: Any) -> Verdict:
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


def test_it_counts_in_the_month_in_which_it_starts(queue: Queue) -> None:
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


NODE = """
nodes:
  - name: box
    count: 1
    hardware: {vcpus: 2, memory_gib: 8}
    price_per_hour_usd: 1
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.home.mkdir(mode=0o700)
    (cli.home / "nodes.yaml").write_text(NODE)
    return cli


def test_one_place_takes_many_runs_one_after_the_other_in_their_order(cli: Cli) -> None:
    job = cli.job("true", broker={"budget": "1 USD"})
    for _ in range(6):
        answer = cli("run", job, "--on", "box", "--yes", "--detach")
        assert answer.returncode == 0, answer.stderr
    rows = wait_for(lambda: _all_settled(cli), tell=lambda: cli("ps", "--all").stdout)
    assert [row["outcome"] for row in rows] == ["succeeded"] * 6
    assert [row["attempts"] for row in rows] == [1] * 6
    starts = [row["started_at"] for row in rows]
    ends = [row["ended_at"] for row in rows]
    assert starts == sorted(starts)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_a_client_that_died_in_the_line_holds_up_nobody_for_long(cli: Cli) -> None:
    gate = cli.folder / "gate"
    first = cli.job(f"echo up; while [ ! -e {gate} ]; do sleep 0.1; done", "first",
                    broker={"budget": "1 USD"})  # fmt: skip
    client = cli.start("run", first, "--on", "box", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    next_ = cli.job("true", "next", broker={"budget": "1 USD"})
    dead = cli.start("run", next_, "--on", "box", "--yes")
    wait_for(lambda: len(cli.ledger()) == 2)
    dead.kill()
    dead.communicate()
    assert cli("run", next_, "--on", "box", "--yes", "--detach").returncode == 0
    gate.touch()
    rows = wait_for(lambda: _settled(cli, 2), tell=lambda: cli("ps", "--all").stdout)
    assert [row["state"] for row in rows] == ["settled", "queued", "settled"]
    client.communicate()
    assert cli("reconcile").returncode == 0
    assert _all_settled(cli)[1]["outcome"] == "abandoned"


def _all_settled(cli: Cli) -> list[dict[str, Any]]:
    rows = cli.ledger()
    return rows if all(row["state"] == "settled" for row in rows) else []


def _settled(cli: Cli, count: int) -> list[dict[str, Any]]:
    rows = cli.ledger()
    return rows if sum(row["state"] == "settled" for row in rows) == count else []
