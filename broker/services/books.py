"""A guard's money in the ledger: what a lease may cost is reserved before the engine is told.

A reservation pays for an hour's leases and is settled with what they came to; one of the service is
open at a time. All of a month share the month's budget, which the ledger holds by itself.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import SERVICE, Admission, Ledger, Run, Share, State, share_in
from mlbroker.broker.runs.launch import new_run_id
from mlbroker.broker.services.journal import Block
from mlbroker.policies.service.interface import UNITS_PER_USD, Period, usd
from mlbroker.pricing.offer import Market

_NANO = Decimal("1e-9")
# So long after its end a reservation has been renewed, or its guard is dead.
_LATE = timedelta(hours=1)


class Account(NamedTuple):
    """Whose money it is, what the books say of each replica, and where the guard is."""

    service: str
    user: str
    project: str | None
    cloud: str
    region: str
    instance_type: str
    price_per_hour_usd: Decimal
    engine: str
    guard_at: str


class Books:
    """The reservations of one service."""

    def __init__(
        self, ledger: Ledger, account: Account, admission: Callable[[Decimal], Admission | None]
    ) -> None:
        self._ledger = ledger
        self._account = account
        self._admission = admission

    def fits(self, block: Block | None, period: Period, now_ms: int, paid: int, worst: int) -> bool:
        """Whether a lease of `worst` units can be made from the open reservation."""
        if block is None or block.period_ms != period.start_ms or now_ms >= block.until_ms:
            return False
        return paid - block.base + worst <= block.reserved

    def open(
        self, period: Period, cap: int, base: int, worst: int, wished: int, until_ms: int
    ) -> Block:
        """Reserve what is wished for, or what there is room for, `worst` units at least.

        RefusedError where the budget or a policy has no room for that.
        """
        now, units = datetime.now(UTC), max(wished, worst)
        while True:
            try:
                return self._opened(period, cap, base, units, now, until_ms)
            except RefusedError:
                if units == worst:
                    raise
                units = max(units // 2, worst)

    def created(self, block: Block) -> None:
        """The engine was told; nothing where that is known."""
        run = self._ledger.run(block.run_id)
        if run is not None and run.state is State.ARMED:
            told = {"machine_id": self._account.engine, "started_at": _iso(datetime.now(UTC))}
            self._ledger.append(datetime.now(UTC), block.run_id, State.CREATED, told)

    def settled(self, block: Block) -> int | None:
        """Units that a reservation was settled with; None while it is open."""
        run = self._ledger.run(block.run_id)
        if run is None or not run.settled:
            return None
        return int(run.spent_usd * UNITS_PER_USD)

    def close(self, block: Block, paid: int) -> None:
        """Settle with what was paid since it was opened."""
        run = self._ledger.run(block.run_id)
        if run is not None and not run.settled:
            self._settle(run, _usd(max(paid - block.base, 0)), at_most=False)

    def close_unknown(self, but: str | None) -> list[Run]:
        """Settle what earlier guards left open of which nothing is known here, at its worst.

        RefusedError where the ledger is a team's, and a guard may be at work in another place.
        """
        left = [run for run in self.open_runs() if run.run_id != but]
        for run in left:
            there, due = run.details["guard_at"], run.attempts and run.attempt.kill_at
            if there != self._account.guard_at and due and datetime.now(UTC) < due + _LATE:
                raise RefusedError(
                    f"has a guard already, at {there}", where=f"service {self._account.service}",
                    hint=f"Stop it there. If it is gone: its reservation ends at {due:%H:%M} UTC.",
                )  # fmt: skip
        for run in left:
            self._settle(run, run.reserved_usd, at_most=True)
        return left

    def open_runs(self) -> list[Run]:
        """The service's reservations that are open, by whichever guard."""
        found = []
        for run in self._ledger.open_runs():
            share = share_in(run, SERVICE)
            if share is not None and share.name == self._account.service:
                found.append(run)
        return found

    def stop_asked(self, block: Block | None) -> bool:
        """Whether somebody asked to stop the run that is the reservation."""
        run = None if block is None else self._ledger.run(block.run_id)
        return run is not None and run.stop_requested is not None

    def _opened(
        self, period: Period, cap: int, base: int, units: int, now: datetime, until_ms: int
    ) -> Block:
        account, run_id, worst_usd = self._account, new_run_id(now), _usd(units)
        month = datetime.fromtimestamp(period.start_ms / 1000, UTC)
        whole = f"{account.service}:{month:%Y-%m-%dT%H:%M:%S}"
        budget_usd = _usd(cap)
        share = Share(SERVICE, account.service, whole, whole, budget_usd, "the guard")
        body = {
            "job": account.service,
            "user": account.user,
            "project": account.project,
            "cap_usd": str(budget_usd),
            "reserved_usd": str(worst_usd),
            "guard_at": account.guard_at,
            **share.body(),
        }
        self._ledger.reserve(now, run_id, body, self._admission(worst_usd))
        intent: Mapping[str, Any] = {
            "attempt": 1,
            "token": run_id,
            "cloud": account.cloud,
            "region": account.region,
            "instance_type": account.instance_type,
            "market": Market.ON_DEMAND.value,
            "nodes": 1,
            "price_per_hour_usd": str(account.price_per_hour_usd),
            "kill_at": _iso(datetime.fromtimestamp(until_ms / 1000, UTC)),
            "worst_usd": str(worst_usd),
        }
        self._ledger.append(now, run_id, State.INTENDED, intent)
        self._ledger.append(now, run_id, State.ARMED, {"by": account.engine})
        return Block(run_id, units, base, period.start_ms, until_ms)

    def _settle(self, run: Run, charged_usd: Decimal, *, at_most: bool) -> None:
        now, told = datetime.now(UTC), {"charged_usd": str(charged_usd), "at_most": at_most}
        ended = {"why": "stopped", **told}
        if run.state is State.CREATED:
            ended |= {"ended_at": _iso(now)}
            self._ledger.append(now, run.run_id, State.TERMINATED, ended)
        elif run.state in (State.INTENDED, State.ARMED):
            self._ledger.append(now, run.run_id, State.ABSENT, ended)
        self._ledger.append(now, run.run_id, State.SETTLED, {"outcome": "stopped"})


def _usd(units: int) -> Decimal:
    """To the billionth, and never less than it is."""
    return usd(units).quantize(_NANO, ROUND_CEILING)


def _iso(at: datetime) -> str:
    return at.isoformat()
