"""An attempt that its place starts when it likes: free until then, with all of its life after."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.clouds.interface import Machine, MachineState
from mlbroker.broker.ledger import Run, State
from mlbroker.broker.ledger.facts import Fact
from mlbroker.broker.ledger.state import fold
from mlbroker.broker.runs.pending import news_of, started, told_of_start

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
LIFE = timedelta(minutes=10)
OPENED = {"job": "j", "user": "u", "cap_usd": "1", "reserved_usd": "1"}
INTENT = {
    "attempt": 1, "token": "t", "cloud": "slurm", "region": "on-prem", "instance_type": "cluster",
    "market": "on_demand", "nodes": 1, "price_per_hour_usd": "1", "worst_usd": "1",
    "kill_at": (NOON + LIFE).isoformat(),
}  # fmt: skip


def run_of(*more: tuple[str, dict[str, Any]]) -> Run:
    told = [("reserved", OPENED), ("intended", INTENT), ("armed", {}), *more]
    run = fold(Fact(n, NOON, "r", kind, body, "") for n, (kind, body) in enumerate(told, 1))
    assert run is not None
    return run


CREATED = ("created", {"machine_id": "m", "pending": ""})


@given(st.timedeltas(timedelta(0), timedelta(days=400)), st.integers(0, 10**6))
def test_a_life_is_as_long_as_it_was_to_be_whenever_it_begins(
    wait: timedelta, seconds: int
) -> None:
    waits = run_of(CREATED)
    assert waits.attempt.stood_s(NOON + timedelta(seconds=seconds)) == 0
    told = told_of_start(waits, NOON + wait, None)
    begun = run_of(CREATED, ("confirmed", told))
    assert begun == run_of(CREATED, ("confirmed", told))
    assert begun.attempt.kill_at - begun.attempt.began_at == LIFE
    assert begun.attempt.stood_s(NOON + wait + timedelta(seconds=seconds)) == seconds
    assert started(waits, told).attempt == begun.attempt
    assert told_of_start(begun, NOON, None) == {}, "a start is told once"


def test_its_place_may_end_it_before() -> None:
    waits, early = run_of(CREATED), NOON + timedelta(hours=3, minutes=2)
    told = told_of_start(waits, NOON + timedelta(hours=3), early)
    assert run_of(CREATED, ("confirmed", told)).attempt.kill_at == early


def test_one_that_began_unseen_is_charged_for_it_at_its_end() -> None:
    """It was pending when last seen, and is over now: its place tells when it began."""
    waits = run_of(CREATED)
    begin, end = NOON + timedelta(hours=2), NOON + timedelta(hours=2, seconds=5)
    told = told_of_start(waits, begin, None)
    over = {"ended_at": end.isoformat(), "charged_usd": "0.002", "why": "stopped", **told}
    ended = ("ended", {"why": "stopped"})
    run = run_of(CREATED, ended, ("terminating", {}), ("terminated", over))
    assert (run.attempt.began_at, run.attempt.pending) == (begin, None)
    assert run.spent_usd == Decimal("0.002")
    assert started(waits, told).attempt.stood_s(end) == 5


def test_its_reason_is_told_when_it_is_another() -> None:
    said: list[str] = []

    def seen(says: str | None) -> Machine:
        return Machine("m", MachineState.PENDING, {}, says=says)

    waits = run_of(CREATED)
    assert news_of(waits, seen(None), said.append) == {}
    news = news_of(waits, seen("Priority"), said.append)
    waits = run_of(CREATED, ("noted", news))
    assert waits.state is State.CREATED
    assert waits.attempt.pending == "Priority"
    assert news_of(waits, seen("Priority"), said.append) == {}
    assert said == ["waiting in the queue of Slurm: Priority"]
    # What somebody noted late changes nothing of a run that has begun.
    begun = [CREATED, ("confirmed", told_of_start(waits, NOON, None)), ("noted", news)]
    assert run_of(*begun).attempt.pending is None
