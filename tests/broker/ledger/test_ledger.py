"""The books, wherever they are kept: order of facts, damage, other versions, admissions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.ledgers import REFUSED, Books
from tests.support.report_ledgers import Made, many, write

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import IllegalStep, Ledger, LedgerError, State, Verdict
from mlbroker.broker.ledger.state import _NEXT, NOTES
from mlbroker.broker.report.entries import KINDS, entries

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RESERVED: dict[str, Any] = {
    "job": "j",
    "user": "u",
    "project": None,
    "cap_usd": "5",
    "reserved_usd": "5",
}


def intended(number: int = 1, worst: str = "4") -> dict[str, Any]:
    return {
        "attempt": number,
        "token": f"t{number}",
        "cloud": "sim",
        "region": "r",
        "instance_type": "m",
        "market": "spot",
        "nodes": 1,
        "price_per_hour_usd": "1",
        "kill_at": (NOW + timedelta(hours=4)).isoformat(),
        "worst_usd": worst,
    }


BODIES: dict[str, dict[str, Any]] = {
    "intended": intended(),
    "created": {"machine_id": "i-1", "started_at": NOW.isoformat()},
    "refused": {"why": "no_capacity"},
    "absent": {"why": "no_capacity"},
    "ended": {"why": "finished", "exit_code": 0},
    "terminated": {"why": "finished", "ended_at": NOW.isoformat(), "charged_usd": "1.5"},
    "settled": {"outcome": "succeeded", "exit_code": 0},
    "stop_requested": {"why": "stopped"},
    "queued": RESERVED,
    "reserved": RESERVED,
}


def to_terminated(ledger: Ledger, run_id: str = "r1") -> None:
    ledger.reserve(NOW, run_id, RESERVED)
    for kind in ("intended", "armed", "created", "confirmed", "running", "ended", "collected"):
        ledger.append(NOW, run_id, kind, BODIES.get(kind, {}))
    ledger.append(NOW, run_id, "terminating", {})
    ledger.append(NOW, run_id, "terminated", BODIES["terminated"])


def test_a_run_is_the_fold_of_its_facts(books: Books) -> None:
    ledger = books.open()
    to_terminated(ledger)
    held = ledger.run("r1")
    assert held is not None
    assert (held.state, held.reserved_usd, held.spent_usd) == (
        State.TERMINATED, Decimal(5), Decimal("1.5"),
    )  # fmt: skip
    ledger.append(NOW, "r1", "settled", BODIES["settled"])
    run = books.open().run("r1")
    assert run is not None
    assert (run.reserved_usd, run.spent_usd, run.outcome) == (0, Decimal("1.5"), "succeeded")
    assert ledger.verify() is None


def test_runs_of_a_market_are_whole_and_the_others_are_left_out(books: Books) -> None:
    ledger = books.open()
    assert ledger.runs("spot") == []
    to_terminated(ledger)
    ledger.reserve(NOW, "r2", RESERVED)
    ledger.append(NOW, "r2", "intended", {**intended(), "market": "on_demand"})
    ledger.reserve(NOW, "r3", RESERVED)
    assert ledger.runs("spot") == [ledger.run("r1")]
    assert [run.run_id for run in ledger.runs("on_demand")] == ["r2"]


def test_a_second_attempt_needs_the_first_to_be_gone(books: Books) -> None:
    ledger = books.open()
    ledger.reserve(NOW, "r1", RESERVED)
    ledger.append(NOW, "r1", "intended", intended())
    for kind in ("armed", "created", "confirmed", "running", "ended"):
        with pytest.raises(IllegalStep):
            ledger.append(NOW, "r1", "intended", intended(2))
        ledger.append(NOW, "r1", kind, BODIES.get(kind, {}))


def test_all_attempts_together_stay_under_the_reservation(books: Books) -> None:
    ledger = books.open()
    to_terminated(ledger)
    with pytest.raises(IllegalStep, match="more than is left"):
        ledger.append(NOW, "r1", "intended", intended(2, worst="3.6"))
    run = ledger.append(NOW, "r1", "intended", intended(2, worst="3.5"))
    assert len(run.attempts) == 2


@given(st.lists(st.sampled_from([*State, *sorted(NOTES), "approved", "nonsense"]), max_size=30))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_steps_that_may_follow_are_kept(books: Books, kinds: list[str]) -> None:
    ledger = books.afresh()
    state: State | None = None
    kept = 0
    for kind in kinds:
        body = BODIES.get(kind, {})
        if kind == "intended":
            body = intended(worst="0.1")
        if kind == "terminated":
            body = {**body, "charged_usd": "0.1"}
        legal = kind in _NEXT[state] if kind in list(State) else kind in NOTES and state is not None
        try:
            ledger.append(NOW, "r1", kind, body)
            assert legal or kind == "disarmed"
            kept += 1
            state = State(kind) if kind in list(State) else state
        except IllegalStep:
            assert not legal or kind == "disarmed"
    assert ledger.head()[0] == kept
    assert ledger.verify() is None


def test_history_cannot_be_changed_through_the_database(books: Books) -> None:
    to_terminated(books.open())
    for statement in ("UPDATE facts SET body = '{}'", "DELETE FROM facts"):
        with pytest.raises(REFUSED, match="append-only"):
            books.execute(statement)


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        (
            "UPDATE facts SET body = replace(body, '1.5', '0.5') WHERE kind = 'terminated'",
            "changed",
        ),
        ("DELETE FROM facts WHERE seq = 3", "missing"),
        ("UPDATE facts SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 1", "changed"),
        ("UPDATE accounts SET usd = '0'", "balance"),
        ("DELETE FROM accounts", "balance"),
        ("INSERT INTO accounts VALUES ('x', 'u', NULL, '2026-01-01', '1', '9')", "without facts"),
    ],
)
def test_tampering_is_found(books: Books, tampering: str, says: str) -> None:
    to_terminated(books.open())
    books.unprotect()
    books.execute(tampering)
    found = books.open().verify()
    assert found is not None
    assert says in found.what


def test_a_newer_format_is_left_alone(books: Books) -> None:
    books.open().reserve(NOW, "r1", RESERVED)
    books.set_version(99)
    with pytest.raises(LedgerError, match="upgrade"):
        books.open().reserve(NOW, "r2", RESERVED)


def test_a_refused_reservation_leaves_no_trace(books: Books) -> None:
    ledger = books.open()
    with pytest.raises(RefusedError, match="no more"):
        ledger.reserve(NOW, "r1", RESERVED, lambda accounts, approvals, at: Verdict("no more"))
    assert ledger.runs() == []
    assert ledger.head()[0] == 0


def test_an_admission_sees_open_reservations_of_any_month(books: Books) -> None:
    ledger = books.open()
    ledger.reserve(NOW - timedelta(days=90), "old-open", RESERVED)
    to_terminated(ledger, "settled")
    ledger.append(NOW, "settled", "settled", BODIES["settled"])
    seen: list[tuple[bool, Decimal]] = []

    def admission(accounts: Any, approvals: Any, at: datetime) -> Verdict:
        seen.extend((account.open, account.usd) for account in accounts)
        return Verdict()

    ledger.reserve(NOW, "new", RESERVED, admission)
    assert sorted(seen) == [(False, Decimal("1.5")), (True, Decimal(5))]


def test_a_row_that_was_written_over_is_named_and_no_bug(books: Books) -> None:
    write(books.storage(), [Made(NOW, 1.0)])
    ledger = books.open()
    books.unprotect()
    for body in ("{}", "no JSON"):
        books.execute(f"UPDATE facts SET body = '{body}' WHERE kind = 'reserved'")
        with pytest.raises(LedgerError, match="row 1 of the ledger makes no sense"):
            ledger.runs()
        with pytest.raises(LedgerError, match="row 1 of the ledger makes no sense"):
            entries(ledger.facts_of_kinds(KINDS))


def test_open_runs_are_those_of_all_that_are_not_settled(books: Books) -> None:
    write(books.storage(), many(40, 5, seed=1))
    ledger = books.open()
    found = ledger.open_runs()
    assert found == [run for run in ledger.runs() if not run.settled]
    assert len(found) == 3
