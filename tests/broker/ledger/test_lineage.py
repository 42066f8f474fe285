"""Runs that go on from one another: one open at a time, all under the cap that was given once."""

import os
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.forks import in_fork, wait
from tests.support.ledgers import Books

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger import RESUMES, SHARES_CAP, Ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RACERS = 8


def opening(cap: str, resumes: str | None = None, shares: bool = True) -> dict[str, Any]:
    body = {"job": "j", "user": "u", "project": None, "cap_usd": cap, "reserved_usd": cap}
    return body if resumes is None else {**body, RESUMES: resumes, SHARES_CAP: shares}


def run_to_the_end(ledger: Ledger, run_id: str, spent: str) -> None:
    intent = {
        "attempt": 1, "token": run_id, "cloud": "sim", "region": "r", "instance_type": "m",
        "market": "spot", "nodes": 1, "price_per_hour_usd": "1", "kill_at": NOW.isoformat(),
        "worst_usd": spent,
    }  # fmt: skip
    at = NOW.isoformat()
    for kind, body in (
        ("intended", intent),
        ("armed", {}),
        ("created", {"machine_id": run_id, "started_at": at}),
        ("terminated", {"why": "capped", "ended_at": at, "charged_usd": spent}),
        ("settled", {"outcome": "capped"}),
    ):
        ledger.append(NOW, run_id, kind, body)


@pytest.fixture
def ledger(books: Books) -> Ledger:
    """With a run `a` that spent 4 of its 10 USD."""
    ledger = books.open()
    ledger.reserve(NOW, "a", opening("10"))
    run_to_the_end(ledger, "a", "4")
    return ledger


def test_a_run_still_open_is_not_resumed(books: Books) -> None:
    ledger = books.open()
    ledger.reserve(NOW, "a", opening("10"))
    for shares in (True, False):
        with pytest.raises(InputError, match="a is not settled yet"):
            ledger.reserve(NOW, "b", opening("1", "a", shares))
    assert [run.run_id for run in ledger.runs()] == ["a"]


def test_of_one_line_one_run_is_open(ledger: Ledger) -> None:
    ledger.reserve(NOW, "b", opening("6", "a"))
    with pytest.raises(InputError, match="run b, which is of one line with a"):
        ledger.reserve(NOW, "c", opening("1", "a", shares=False))
    run_to_the_end(ledger, "b", "1")
    ledger.reserve(NOW, "c", opening("1", "b", shares=False))
    with pytest.raises(InputError, match="run c, which is of one line with a"):
        ledger.reserve(NOW, "d", opening("1", "a"))


def test_what_a_run_left_is_given_once(ledger: Ledger) -> None:
    assert ledger.lineage("a").rest_usd() == 6
    ledger.reserve(NOW, "b", opening("6", "a"))
    run_to_the_end(ledger, "b", "5")
    assert ledger.lineage("a").rest_usd() == ledger.lineage("b").rest_usd() == 1
    with pytest.raises(RefusedError, match="1 USD now"):
        ledger.reserve(NOW, "c", opening("6", "a"))
    ledger.reserve(NOW, "c", opening("1", "a"))
    run_to_the_end(ledger, "c", "1")
    for run_id in "abc":
        with pytest.raises(RefusedError, match="spent all of its 10 USD"):
            ledger.lineage(run_id).rest_usd()


def test_a_cap_of_its_own_takes_nothing_from_the_earlier_ones(ledger: Ledger) -> None:
    ledger.reserve(NOW, "b", opening("20", "a", shares=False))
    run_to_the_end(ledger, "b", "15")
    assert ledger.lineage("a").rest_usd() == 6
    assert ledger.lineage("b").rest_usd() == 5


def test_of_resumes_that_race_one_gets_the_rest(ledger: Ledger, books: Books) -> None:
    ready, go = os.pipe()

    def one(run_id: str) -> None:
        own = books.open()
        rest = own.lineage("a").rest_usd()
        os.close(go)
        os.read(ready, 1)  # until nobody holds the other end
        with suppress(InputError, RefusedError):
            own.reserve(NOW, run_id, opening(str(rest), "a"))

    racers = [in_fork(lambda name=f"b{n}": one(name)) for n in range(RACERS)]  # type: ignore[misc]
    os.close(go)
    assert [wait(pid) for pid in racers] == [0] * RACERS
    os.close(ready)
    runs = ledger.runs()
    assert len(runs) == 2
    assert sum(run.held_usd for run in runs) == 10


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 9), st.integers(0, 9)), max_size=8
)


@given(STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_history_of_resumes_spends_a_cap_twice(
    books: Books, steps: list[tuple[int, bool, int, int]]
) -> None:
    ledger = books.afresh()
    ledger.reserve(NOW, "r0", opening("20"))
    caps = {"r0": Decimal(20)}
    under = {"r0": "r0"}
    for number, (which, shares, cap, spent) in enumerate(steps, 1):
        run_id, earlier = f"r{number}", f"r{which % len(caps)}"
        last = max(caps, key=lambda name: int(name[1:]))
        if not ledger.lineage(last).run.settled:
            run_to_the_end(ledger, last, str(min(Decimal(spent), caps[last])))
        try:
            ledger.reserve(NOW, run_id, opening(str(cap), earlier, shares))
        except RefusedError:
            break
        caps[run_id] = Decimal(cap)
        under[run_id] = under[earlier] if shares else run_id
        assert sum(not run.settled for run in ledger.runs()) == 1
        for payer in set(under.values()):
            held = sum(r.held_usd for r in ledger.runs() if under[r.run_id] == payer)
            assert held <= caps[payer]
