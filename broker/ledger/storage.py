"""What a ledger asks of the place where its facts are kept: one file, or a server for a team."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger.facts import Account, Break, Fact


class Transaction(Protocol):
    """All or nothing, and nobody else writes meanwhile."""

    def facts(self, run_id: str) -> list[Fact]:
        """One run's facts in order; those of no run for an empty id."""
        ...

    def openings(self) -> list[Fact]:
        """Facts of the kinds that open runs, in order; of a run that queued, its starts too."""
        ...

    def accounts(self, since: datetime) -> list[Account]:
        """Every open account, and what counts `since` then, which is the beginning of a day in UTC.

        Settled ones may come summed up, by user, project and day: then without a run's id.
        """
        ...

    def open_runs(self) -> list[str]:
        """The runs that may still come to cost something."""
        ...

    def latest_account(self) -> datetime | None:
        """The time of the run that counts latest, whenever it was written."""
        ...

    def moment(self, at: datetime) -> datetime:
        """When something counts that is done now, by a client whose clock says `at`."""
        ...

    def append(self, at: datetime, run_id: str, kind: str, body: Mapping[str, Any]) -> Fact:
        """The next fact, chained to the last."""
        ...

    def put_account(self, account: Account) -> None:
        """What a run holds from now on."""
        ...


class Storage(Protocol):
    """Where facts are kept, in order and for good. Raises LedgerError where it cannot be used.

    `team`: the database of a team's, as it is shown; None for a file of this state folder. Of a
    team's ledger the folder of a run may be on another machine.
    """

    @property
    def team(self) -> str | None: ...

    def write(self, adopt: bool = False) -> AbstractContextManager[Transaction]:
        """One durable transaction; an exception inside rolls it back."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read inside the block is of one moment."""
        ...

    def facts(self, run_id: str | None = None) -> Iterator[Fact]:
        """All facts in order, or one run's."""
        ...

    def facts_of_market(self, market: str) -> Iterator[Fact]:
        """The facts of the runs that asked for a machine on this market, in order."""
        ...

    def facts_of_kinds(self, kinds: Sequence[str], since: datetime | None) -> Iterator[Fact]:
        """Facts of these kinds in order: of all runs, or of those that count `since` then, and of
        those that are open."""
        ...

    def openings(self) -> list[Fact]:
        """The facts that open runs, in order."""
        ...

    def accounts(self, only_open: bool = False) -> list[Account]:
        """What every run holds of the caps, or every open one, as kept beside the facts."""
        ...

    def why_copy(self) -> RefusedError | None:
        """Why nothing may be written here while runs are open: it is another ledger's copy."""
        ...

    def verify(self) -> Break | None:
        """The first damage found where it is kept, or in the chain of hashes."""
        ...

    def head(self) -> tuple[int, str]:
        """Number and hash of the last fact: note it down to prove later that nothing was cut."""
        ...

    def close(self) -> None:
        """Give back what is held open."""
        ...
