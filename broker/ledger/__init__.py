"""The books: every run's reservation, steps and charges, append-only and chained by hash."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.home import TEAM_LEDGER
from mlbroker.broker.ledger.attempt import Attempt
from mlbroker.broker.ledger.facts import Account, Break, Fact, LedgerError
from mlbroker.broker.ledger.lineage import RESUMES, SHARES_CAP, Lineage
from mlbroker.broker.ledger.sharing import (
    PIPELINE,
    SERVICE,
    SHARE,
    STUDY,
    WORKFLOW,
    Share,
    share_in,
)
from mlbroker.broker.ledger.sqlite import SqliteStorage
from mlbroker.broker.ledger.state import (
    COUNTS_AT,
    STANDALONE,
    IllegalStep,
    Run,
    State,
    fold,
    step,
)
from mlbroker.broker.ledger.storage import Storage, Transaction
from mlbroker.broker.team import team_ledger

if TYPE_CHECKING:
    from mlbroker.broker.ledger.postgres import PostgresStorage

__all__ = [
    "LAST",
    "PIPELINE",
    "RESUMES",
    "SERVICE",
    "SHARES_CAP",
    "STUDY",
    "WORKFLOW",
    "Account",
    "Admission",
    "Attempt",
    "Break",
    "Fact",
    "IllegalStep",
    "Ledger",
    "LedgerError",
    "Lineage",
    "Run",
    "Share",
    "State",
    "Verdict",
    "open_ledger",
    "share_in",
    "team_storage",
]

# What a person calls the run that was reserved last.
LAST = "last"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An admission's answer: why not, and what to do; or yes, and the approval it uses up."""

    refusal: str | None = None
    hint: str | None = None
    approval: str | None = None


# Judges a reservation, given the accounts so far, the approvals nobody has used, and the time.
Admission = Callable[[Sequence[Account], Sequence[Fact], datetime], Verdict]


def open_ledger(home: Path) -> "Ledger":
    """The ledger of this state folder, or the team's (see `broker.team`)."""
    address = team_ledger()
    if address is None:
        return Ledger(SqliteStorage(home / "ledger.db"))
    return Ledger(team_storage(*address))


def team_storage(url: str, where: str = TEAM_LEDGER) -> "PostgresStorage":
    """A team's, on a server; InputError for a URL that is none, written there."""
    # Hardly anybody needs it, and its library takes its time.
    from mlbroker.broker.ledger.postgres import PostgresStorage
    from mlbroker.broker.ledger.postgres_server import Server

    return PostgresStorage(Server.of(url, where))


class Ledger:
    """Appends facts that may follow, and folds them into runs."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def reserve(
        self,
        at: datetime,
        run_id: str,
        body: Mapping[str, Any],
        admission: Admission | None = None,
        waits: Callable[[Sequence[Run]], bool] | None = None,
    ) -> Run:
        """Open a run with its worst case; or in the queue, where it holds nothing yet.

        It queues where it `waits`, given the runs that are open. One transaction with that, and
        with what may refuse it: the `admission`, for a run that goes on from another its `Lineage`,
        and for one of several under one cap its `Share`.
        """
        with self._storage.write() as transaction:
            now = transaction.moment(at)
            body = _counted(transaction, at, now, body)
            if body.get(RESUMES):
                openings = transaction.openings()
                lineage = Lineage.of(body[RESUMES], openings, lambda i: fold(transaction.facts(i)))
                lineage.admit(body)
            if (share := Share.of(body)) is not None:
                ids = [each.run_id for each in transaction.openings() if _with(share, each)]
                found = (fold(transaction.facts(each)) for each in dict.fromkeys(ids))
                share.admit(body, [run for run in found if run is not None])
            queues = waits is not None and waits(_open_runs(transaction))
            if admission is not None:
                _admit(transaction, at, now, run_id, admission, starts=not queues)
            run = fold(transaction.facts(run_id))
            kind = State.QUEUED if queues else State.RESERVED
            run = step(run, transaction.append(at, run_id, kind, body))
            transaction.put_account(_account(run))
            return run

    def start(
        self,
        at: datetime,
        run_id: str,
        intent: Mapping[str, Any],
        admission: Admission,
        turn: Callable[[Sequence[Run]], bool],
    ) -> Run:
        """A queued run's worst case and its next attempt, in one transaction.

        The run stays as it is where it is not its `turn`, given the runs that are open.
        RefusedError where the caps have no room for it.
        """
        with self._storage.write() as transaction:
            before = fold(transaction.facts(run_id))
            if before is None or before.state is not State.QUEUED:
                raise IllegalStep(f"run {run_id} is not in the queue")
            if not turn(_open_runs(transaction)):
                return before
            now = transaction.moment(at)
            _admit(transaction, at, now, run_id, admission)
            told = {"reserved_usd": before.details["reserved_usd"], COUNTS_AT: now.isoformat()}
            body = _counted(transaction, at, now, told)
            run = step(before, transaction.append(at, run_id, State.RESERVED, body))
            run = step(run, transaction.append(at, run_id, State.INTENDED, intent))
            _within_reservation(run)
            transaction.put_account(_account(run))
            return run

    def judged(self, run_id: str, admission: Admission, now: datetime) -> Verdict:
        """What the admission would say if the run, which waits, started now. Nothing is written."""
        others = [each for each in self._storage.accounts() if each.run_id != run_id]
        notes = self._storage.facts("")
        return admission(others, _unused_approvals(list(notes), but_by=run_id), now)

    def append(self, at: datetime, run_id: str, kind: str, body: Mapping[str, Any]) -> Run:
        """Add a fact that may follow; raises IllegalStep when the run has moved on meanwhile."""
        with self._storage.write() as transaction:
            before = fold(transaction.facts(run_id))
            run = step(before, transaction.append(at, run_id, kind, body))
            if kind == State.INTENDED:
                _within_reservation(run)
            if before is None or _account(run) != _account(before):
                transaction.put_account(_account(run))
            return run

    def ask_to_stop(self, at: datetime, run_id: str, by: str) -> None:
        """Leave the wish to who carries the run; void where it ended meanwhile."""
        with suppress(IllegalStep):
            self.append(at, run_id, "stop_requested", {"why": "stopped", "by": by})

    def note(self, at: datetime, kind: str, body: Mapping[str, Any]) -> Fact:
        """Record something that belongs to no run."""
        if kind not in STANDALONE:
            raise IllegalStep(f"{kind} belongs to a run")
        with self._storage.write() as transaction:
            return transaction.append(at, "", kind, body)

    @property
    def team(self) -> str | None:
        """The database of a team's, without its password; None for a file in the state folder."""
        return self._storage.team

    def run(self, run_id: str) -> Run | None:
        """One run, or None when the ledger does not know it."""
        return fold(self._storage.facts(run_id)) if run_id else None

    def refuse_copy(self, adopt: bool = False) -> None:
        """Refuse when this is a copy whose runs are open at the original; `adopt` takes them over.

        Asked before anything is done to a machine; whatever is written asks by itself.
        """
        if adopt or self._storage.accounts():
            with self._storage.write(adopt):
                pass

    def why_copy(self) -> RefusedError | None:
        """What `refuse_copy` would raise, for commands that only read."""
        return self._storage.why_copy()

    def lineage(self, run_id: str) -> Lineage:
        """The run with all that it goes on from, and that go on from it."""
        return Lineage.of(run_id, self._storage.openings(), self.run)

    def runs(self, market: str | None = None) -> list[Run]:
        """All runs, or those that asked for a machine on this market, oldest first."""
        stored = self._storage
        facts = stored.facts() if market is None else stored.facts_of_market(market)
        by_run = sorted((f for f in facts if f.run_id), key=lambda f: (f.run_id, f.seq))
        runs = (fold(group) for _, group in groupby(by_run, key=lambda f: f.run_id))
        return sorted((r for r in runs if r), key=lambda r: (r.reserved_at, r.run_id))

    def open_runs(self) -> list[Run]:
        """Those that may still come to cost something, oldest first; no other's facts are read."""
        found = (self.run(account.run_id) for account in self._storage.accounts(only_open=True))
        runs = (run for run in found if run is not None and not run.settled)
        return sorted(runs, key=lambda run: (run.reserved_at, run.run_id))

    def facts_of_kinds(self, kinds: Sequence[str], since: datetime | None = None) -> Iterator[Fact]:
        """Facts of these kinds in order: of all runs, or of those that count `since` then, and of
        those that are open."""
        return self._storage.facts_of_kinds(kinds, since)

    def find(self, wanted: str) -> Run:
        """The run a person means: by its id, by the beginning of one, or the `last` one."""
        runs = self.runs()
        if not runs:
            raise InputError("there are no runs yet")
        if wanted == LAST:
            return runs[-1]
        found = [run for run in runs if run.run_id.startswith(wanted)]
        exact = [run for run in found if run.run_id == wanted]
        if exact or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise InputError(f"there is no run {wanted!r}", hint="See them all: mlbroker ps --all")
        names = ", ".join(run.run_id for run in found[:5])
        raise InputError(
            f"{wanted!r} is the beginning of {len(found)} runs", hint=f"They are {names}"
        )

    def facts(self, run_id: str | None = None) -> Iterator[Fact]:
        """The facts themselves, in order."""
        return self._storage.facts(run_id)

    def accounts(self) -> list[Account]:
        """What every run holds of the caps."""
        return self._storage.accounts()

    def unused_approvals(self) -> list[Fact]:
        """The approvals that no run has used up."""
        return _unused_approvals(list(self._storage.facts("")))

    def head(self) -> tuple[int, str]:
        """Number and hash of the last fact."""
        return self._storage.head()

    def verify(self) -> Break | None:
        """The first damage: to the file, to the chain, to a run's order, or to the balances."""
        with self._storage.snapshot():
            return self._storage.verify() or self._off_balance()

    def _off_balance(self) -> Break | None:
        runs: dict[str, Run] = {}
        for fact in self._storage.facts():
            if not fact.run_id:
                continue
            try:
                runs[fact.run_id] = step(runs.get(fact.run_id), fact)
            except (IllegalStep, KeyError, ValueError, ArithmeticError) as error:
                return Break(fact.seq, f"row {fact.seq} makes no sense: {error}")
        kept = {account.run_id: account for account in self._storage.accounts()}
        for run_id, run in runs.items():
            if kept.pop(run_id, None) != _account(run):
                return Break(0, f"the balance of run {run_id} differs from its facts")
        if kept:
            return Break(0, f"a balance without facts: run {next(iter(kept))}")
        return None


def _with(share: Share, opening: Fact) -> bool:
    """Whether the run that a fact opens is of the same whole."""
    other = opening.body.get(SHARE)
    return other is not None and (other["kind"], other["whole_id"]) == share[0:3:2]


def _account(run: Run) -> Account:
    return Account(run.run_id, run.user, run.project, run.counts_at, not run.settled, run.held_usd)


def _within_reservation(run: Run) -> None:
    """IllegalStep where its attempt may cost more than is left."""
    if run.spent_usd + run.attempt.worst_usd > run.reserved_usd:
        raise IllegalStep(
            f"attempt {run.attempt.number} could cost {run.attempt.worst_usd} USD, more than is "
            f"left of the reservation"
        )


def _counted(
    transaction: Transaction, at: datetime, now: datetime, body: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The body of a reservation, with the moment whose caps it counts against where that is not
    its own `at`: a clock was ahead, or is set back. Counted no earlier than what is in the books,
    it escapes no daily or monthly cap either way.
    """
    latest = transaction.latest_account()
    counts_at = now if latest is None else max(now, latest)
    return body if counts_at == at else {**body, COUNTS_AT: counts_at.isoformat()}


def _admit(
    transaction: Transaction,
    at: datetime,
    now: datetime,
    run_id: str,
    admission: Admission,
    *,
    starts: bool = True,
) -> None:
    """RefusedError where the caps have no room; an approval is used up, if it takes one.

    Of one that only queues, where they had none even if whatever is open now came to nothing.
    """
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    others = [each for each in transaction.accounts(month) if each.run_id != run_id]
    accounts = [each for each in others if starts or not each.open]
    notes = transaction.facts("")
    verdict = admission(accounts, _unused_approvals(notes, but_by=run_id), now)
    if verdict.refusal is not None:
        raise RefusedError(verdict.refusal, hint=verdict.hint)
    used_up = verdict.approval not in {fact.body["id"] for fact in _unused_approvals(notes)}
    if verdict.approval is not None and starts and not used_up:
        use = {"id": verdict.approval, "run_id": run_id}
        transaction.append(at, "", "approval_used", use)


def _open_runs(transaction: Transaction) -> list[Run]:
    """By the order in which they were opened."""
    found = (fold(transaction.facts(run_id)) for run_id in transaction.open_runs())
    runs = (run for run in found if run is not None and not run.settled)
    return sorted(runs, key=lambda run: (run.reserved_at, run.run_id))


def _unused_approvals(facts: Sequence[Fact], but_by: str | None = None) -> list[Fact]:
    """A run that starts again needs no second one: what it used itself is at hand."""
    used = {
        fact.body["id"]
        for fact in facts
        if fact.kind == "approval_used" and fact.body["run_id"] != but_by
    }
    return [fact for fact in facts if fact.kind == "approved" and fact.body["id"] not in used]
