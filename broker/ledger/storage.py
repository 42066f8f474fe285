"""What the ledger needs from the place its facts are kept in; SQLite is the first such place."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger.facts import Break, Fact


class LedgerError(MlbrokerError):
    """The books cannot be read or written: full disk, no permission, damage, newer version."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a run holds of the caps: its open reservation, or what it spent once settled."""

    run_id: str
    user: str
    project: str | None
    at: datetime
    open: bool
    usd: Decimal


class Transaction(Protocol):
    """One writer at a time. Everything read in it still holds when it commits."""

    def run_facts(self, run_id: str) -> list[Fact]: ...

    def accounts(self, since: datetime) -> list[Account]: ...

    def standalone_facts(self, kind: str) -> list[Fact]: ...

    def last_at(self) -> datetime | None: ...

    def append(self, at: datetime, run_id: str, kind: str, body: Mapping[str, Any]) -> Fact: ...

    def put_account(self, account: Account) -> None: ...


class Storage(Protocol):
    """Keeps facts for good, in order. `write` commits durably on exit, or leaves no trace."""

    def write(self) -> AbstractContextManager[Transaction]: ...

    def facts(self, run_id: str | None = None) -> Iterator[Fact]: ...

    def accounts(self) -> list[Account]: ...

    def verify(self) -> Break | None: ...

    def head(self) -> tuple[int, str]: ...
