"""What a live price feed is: independent tasks, each of which fetches and judges one part.

A feed never touches the book. It returns batches; `refresh` keeps them all or none.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from mlbroker.broker.errors import CloudError
from mlbroker.broker.http import Http
from mlbroker.broker.prices.quotas import Quota
from mlbroker.broker.prices.records import PriceRecord, TypeRecord
from mlbroker.pricing.offer import InstanceType


class FeedError(CloudError):
    """A price service cannot be asked, or answered what cannot be prices."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to refresh; an empty set restricts nothing."""

    regions: frozenset[str] = frozenset()
    instance_types: frozenset[str] = frozenset()

    def admits(self, instance_type: str) -> bool:
        """Whether prices of this type were asked for."""
        return not self.instance_types or instance_type in self.instance_types


class Cover(NamedTuple):
    """A market of a region in which the batch has every price there is.

    What the book has there and the batch has not is no longer sold. `types` limits that to the
    types the feed can judge; None means all.
    """

    region: str
    spot: bool
    types: frozenset[str] | None = None


class Rate(NamedTuple):
    """The share of spot machines of a type interrupted within a month."""

    region: str
    instance_type: str
    rate: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What one task found. `dishonest` counts rows whose price was no price.

    `validator` belongs to the address `url`, for a conditional request next time. A batch that
    is `unchanged` says that the rows of its covers still hold today.
    """

    prices: Sequence[PriceRecord] = ()
    types: Sequence[TypeRecord] = ()
    covers: Sequence[Cover] = ()
    rates: Sequence[Rate] = ()
    dishonest: int = 0
    url: str | None = None
    validator: str | None = None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the book knows of the feed's cloud, so that a feed can ask for less."""

    now: datetime
    types: Mapping[str, InstanceType]
    offered: Mapping[str, frozenset[str]]
    validators: Mapping[str, str] = field(default_factory=dict)

    @property
    def day(self) -> int:
        """Today's ordinal: a price is as of the day on which the vendor stated it to us."""
        return self.now.date().toordinal()


@dataclass(frozen=True, slots=True)
class Task:
    """One part of a refresh: what it fetches, in words, and how."""

    what: str
    fetch: Callable[[], Batch]


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The tasks of a refresh, and what it leaves alone and why."""

    tasks: Sequence[Task]
    notes: Sequence[str] = ()


class Feed(Protocol):
    """A vendor's prices. `plan` may ask the vendor which regions there are."""

    cloud: str

    def plan(self, scope: Scope, known: Known, http: Http) -> FetchPlan:
        """The tasks that fetch what `scope` asks for; they run in parallel."""
        ...


@runtime_checkable
class QuotaFeed(Protocol):
    """A feed that also tells what the account may have, to the user's own credentials."""

    cloud: str

    def quotas(self, regions: Collection[str], http: Http) -> Sequence[Quota]:
        """The quotas of these regions; FeedError says what is missing to ask for them."""
        ...
