"""One fact of the books: what happened to which run, when, chained to the fact before it.

A fact's body holds strings, numbers, booleans, lists and mappings; money is a decimal string.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from mlbroker.broker.errors import MlbrokerError

GENESIS = "0" * 64


class LedgerError(MlbrokerError):
    """The books cannot be read or written: full disk, no permission, damage, newer version."""


def senseless(seq: int, error: Exception) -> LedgerError:
    """A stored fact that nobody here has written so."""
    return LedgerError(
        f"row {seq} of the ledger makes no sense: {type(error).__name__}: {error}",
        hint="`mlbroker ledger verify` shows what is damaged; restore a backup.",
    )


@dataclass(frozen=True, slots=True)
class Account:
    """What a run holds of the caps: its open reservation, or what it spent once settled."""

    run_id: str
    user: str
    project: str | None
    at: datetime
    open: bool
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Fact:
    """An acknowledged row. `seq` counts from 1 without gaps; `hash` covers everything before."""

    seq: int
    at: datetime
    run_id: str
    kind: str
    body: Mapping[str, Any]
    hash: str


def canonical(body: Mapping[str, Any]) -> str:
    """The one spelling of a body that is stored and hashed."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)


def chain_hash(previous: str, seq: int, at: str, run_id: str, kind: str, body: str) -> str:
    """The hash of a fact: over its own columns, as stored, and the hash of the one before."""
    text = json.dumps([previous, seq, at, run_id, kind, body])
    return hashlib.sha256(text.encode()).hexdigest()


def read_rows(rows: Iterable[tuple[int, str, str, str, str, str]]) -> Iterator[Fact]:
    """Facts as they are stored: seq, at, run_id, kind, body, hash.

    LedgerError where one of them was damaged.
    """
    for seq, at, run_id, kind, body, hash_ in rows:
        try:
            fact = Fact(seq, datetime.fromisoformat(at), run_id, kind, json.loads(body), hash_)
        except ValueError as error:
            raise senseless(seq, error) from error
        yield fact


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain stops holding, and in what way."""

    seq: int
    what: str


def first_break(rows: Iterable[tuple[int, str, str, str, str, str]]) -> Break | None:
    """The first row (seq, at, run_id, kind, body, hash) that does not follow from those before."""
    previous, expected = GENESIS, 1
    for seq, at, run_id, kind, body, hash_ in rows:
        if seq != expected:
            return Break(expected, f"row {expected} is missing (found {seq})")
        if chain_hash(previous, seq, at, run_id, kind, body) != hash_:
            return Break(seq, f"row {seq} was changed, or a row before it was removed")
        previous, expected = hash_, seq + 1
    return None
