"""Reports on what was reserved and spent, as the documents that `--json` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.app.proof_bill import completed
from mlbroker.broker.clouds import clouds_with, role_of
from mlbroker.broker.clouds.understood import understood
from mlbroker.broker.errors import InputError
from mlbroker.broker.ledger import PIPELINE, LedgerError, Run, open_ledger, share_in
from mlbroker.broker.runs.summary import attempt_summary, run_summary
from mlbroker.broker.words import exact_usd, exact_usd_or_none

Document = dict[str, Any]
# Vendors round each line; beyond this share a difference is worth a look.
TOLERANCE = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to report. `run` is the beginning of an id, the run's or its pipeline's; `month`
    is YYYY-MM in UTC.
    """

    run: str | None = None
    user: str | None = None
    project: str | None = None
    job: str | None = None
    month: str | None = None

    def admits(self, run: Run) -> bool:
        """Whether the run is wanted."""
        share, begins = share_in(run, PIPELINE), self.run or ""
        whole = "" if share is None else share.whole_id
        return (
            (run.run_id.startswith(begins) or whole.startswith(begins))
            and self.user in (None, run.user)
            and self.project in (None, run.project)
            and self.job in (None, run.job)
            and self.month in (None, f"{run.reserved_at:%Y-%m}")
        )

    def check_month(self) -> None:
        """InputError where `month` is none."""
        if self.month is not None:
            month_of(self.month, f"{self.month!r} is not a month")


def selected(state: Path, wanted: RunFilter) -> list[Run]:
    """The runs that are wanted, oldest first."""
    wanted.check_month()
    return [run for run in open_ledger(state).runs() if wanted.admits(run)]


def runs(state: Path, wanted: RunFilter) -> list[Document]:
    """The runs that are wanted, one row each."""
    return [run_summary(run) for run in selected(state, wanted)]


def attempts(state: Path, wanted: RunFilter) -> list[Document]:
    """Every machine that was asked for, of the runs that are wanted."""
    found = selected(state, wanted)
    return [attempt_summary(run, attempt) for run in found for attempt in run.attempts]


def total(rows: Sequence[Document]) -> dict[str, str]:
    """What they come to."""
    names = ("reserved_usd", "spent_usd")
    return {
        name: exact_usd(sum((Decimal(row[name]) for row in rows), Decimal(0))) for name in names
    }


def facts(state: Path, run: str | None) -> list[Document]:
    """Every single fact, of all runs or of those whose id begins so."""
    return [
        asdict(fact) | {"at": fact.at.isoformat()}
        for fact in open_ledger(state).facts()
        if fact.run_id.startswith(run or "")
    ]


def verified(state: Path, head: str | None) -> Document:
    """The chain of hashes, runs' order and balances; a `head` noted earlier must still be there."""
    ledger = open_ledger(state)
    damage = ledger.verify()
    seq, hash_ = ledger.head() if damage is None else (0, "")
    sought = None if damage is not None else head
    if sought is not None and sought not in (f"{fact.seq}:{fact.hash}" for fact in ledger.facts()):
        raise LedgerError(f"the fact {head} is not in the ledger: history was cut or replaced")
    return {
        "schema": "mlbroker.ledger-verify/1",
        "ok": damage is None,
        "facts": seq,
        "head": f"{seq}:{hash_}" if damage is None else None,
        "damage": damage.what if damage else None,
    }


def bill(state: Path, cloud: str, month: str | None) -> Document:
    """The ledger's runs of a month beside what the vendor bills for them."""
    known = clouds_with("bill")
    if cloud not in known:
        raise InputError(
            f"no bill of {cloud!r}", where="--cloud", hint=f"Known: {', '.join(known)}."
        )
    first = datetime.now(UTC).date().replace(day=1)
    if month is not None:
        first = month_of(month, "is no month")
    ours = [run for run in open_ledger(state).runs() if _billed_in(run, cloud, first)]
    rows = compare(ours, understood(role_of(cloud, "bill"), cloud).billed(first))
    return {
        "schema": "mlbroker.bill/1",
        "cloud": cloud,
        "month": f"{first:%Y-%m}",
        "runs": rows,
        "proofs": list(completed(state, rows)),
    }


def compare(runs: Sequence[Run], billed: Mapping[str, Decimal]) -> list[Document]:
    """Every run that either side knows, with what the difference means."""
    rows = [_bill_row(run.run_id, run.job, run.spent_usd, billed.get(run.run_id)) for run in runs]
    known = {run.run_id for run in runs}
    return rows + [
        _bill_row(run_id, None, None, usd)
        for run_id, usd in sorted(billed.items())
        if run_id not in known
    ]


def _bill_row(
    run_id: str, job: str | None, ours: Decimal | None, theirs: Decimal | None
) -> Document:
    difference = None if ours is None or theirs is None else theirs - ours
    return {
        "run_id": run_id,
        "job": job,
        "ledger_usd": exact_usd_or_none(ours),
        "billed_usd": exact_usd_or_none(theirs),
        "difference_usd": exact_usd_or_none(difference),
        "finding": _finding(ours, theirs),
    }


def _finding(ours: Decimal | None, theirs: Decimal | None) -> str:
    if ours is None:
        return "not in this ledger"
    if theirs is None:
        return "not billed yet"
    if theirs > ours * (1 + TOLERANCE):
        return "billed more"
    return "billed less" if theirs < ours * (1 - TOLERANCE) else "agrees"


def month_of(text: str, refusal: str) -> date:
    """The first day of `--month`; InputError with this `refusal` for what is none."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise InputError(refusal, where="--month", hint="Write it as 2026-11.") from None


def _billed_in(run: Run, cloud: str, first: date) -> bool:
    started = run.reserved_at.astimezone(UTC).date()
    return (started.year, started.month) == (first.year, first.month) and any(
        attempt.cloud == cloud and attempt.machine_id for attempt in run.attempts
    )
