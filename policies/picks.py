"""What is in the running, what of it is picked, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mlbroker.policies.objective import Key
from mlbroker.policies.pace import PacedType
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.offer import Market


@dataclass(slots=True)
class Candidate:
    """One machine type in one market, under one of the job's resource options.

    `rows` are its prices known so far, cheapest first; `complete` when there are no others.
    """

    machine: PacedType
    spot: bool
    option: int
    rows: Sequence[RegionPrice]
    complete: bool = False
    named: bool = False  # by the option

    @property
    def market(self) -> Market:
        """How it is sold."""
        return Market.SPOT if self.spot else Market.ON_DEMAND


class Pick(NamedTuple):
    """A candidate with its best row and that row's key."""

    candidate: Candidate
    row: RegionPrice
    key: Key
    falls_back: bool = False


class Refusal(NamedTuple):
    """A candidate that is out. `needs_s` and `needs_usd` tell which limit would have let it in.

    `row` is the price it was judged by: the cheapest.
    """

    candidate: Candidate
    row: RegionPrice
    reason: Reason
    detail: str = ""
    needs_s: float | None = None
    needs_usd: float | None = None


class Needs(NamedTuple):
    """The least limits that would let a machine in; it needs both."""

    deadline_s: float
    budget_usd: float


@dataclass(slots=True)
class Selection:
    """The best picks in order, everything refused, and how many were feasible in all."""

    picks: list[Pick] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    feasible: int = 0
