"""What every guardrail is: one key of the policy file, and why it forbids a run, if it does.

A rule decides on values alone, so that plan, check and launch give the same answer. It is asked at
each of them, with what is known there. Two things can be missing, and they are not the same:
UNKNOWN is what nobody knows, and a rule that needs it refuses, for unknown is not zero; UNDECIDED
is what a later question will hold, and a rule that needs it has nothing to say yet.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import ClassVar, Final, Literal, NoReturn, Protocol, Self, TypeVar

from mlbroker.policies.quote import Quote
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.pricing.offer import InstanceType, Market

T = TypeVar("T")


class Missing(Enum):
    """Why a value is not there."""

    UNKNOWN = "nobody knows it"
    UNDECIDED = "not decided yet"


UNKNOWN: Final = Missing.UNKNOWN
UNDECIDED: Final = Missing.UNDECIDED
Undecided = Literal[Missing.UNDECIDED]


@dataclass(frozen=True, slots=True)
class Subject:
    """A machine for a run, as the rules look at it. No field has a default: none is left out.

    `price_per_hour_usd` is of all nodes; `cost_usd` and `carbon_kg` are what the run is expected
    to come to. Of a machine wherever it stands, price and cost are the least there are.
    """

    cloud: str
    region: str | Undecided
    instance_type: str
    market: str
    nodes: int
    price_per_hour_usd: Decimal
    gpu: bool | Literal[Missing.UNKNOWN]
    cost_usd: Decimal | Missing
    carbon_kg: float | Missing

    @classmethod
    def of_quote(cls, quote: Quote, kind: InstanceType) -> "Subject":
        """A quoted machine, which is of this type. What nobody can know yet is not decided."""
        cost = quote.cost_usd
        known_kg = UNKNOWN if quote.carbon_kgco2e is None else quote.carbon_kgco2e
        return cls(
            cloud=quote.cloud,
            region=quote.region,
            instance_type=quote.instance_type,
            market=str(quote.market),
            nodes=quote.nodes,
            price_per_hour_usd=quote.price_per_hour_usd * quote.nodes,
            gpu=kind.hardware.gpu is not None,
            cost_usd=UNDECIDED if cost is None else cost.expected,
            carbon_kg=UNDECIDED if cost is None else known_kg,
        )

    @classmethod
    def screened(
        cls,
        kind: InstanceType,
        market: Market,
        nodes: int,
        usd_per_hour: float,
        *,
        region: str | Undecided,
        cost_usd: float | Undecided,
        carbon_kg: float | Undecided | None,
    ) -> "Subject":
        """A machine as it is compared, in floating point, before any is quoted.

        `usd_per_hour` is of one machine, everything else of all `nodes`; unknown carbon is None.
        What is forbidden of a machine with no region yet, at the least price and cost, is so
        anywhere.
        """
        return cls(
            cloud=kind.cloud,
            region=region,
            instance_type=kind.name,
            market=str(market),
            nodes=nodes,
            price_per_hour_usd=_money(usd_per_hour * nodes),
            gpu=kind.hardware.gpu is not None,
            cost_usd=cost_usd if isinstance(cost_usd, Missing) else _money(cost_usd),
            carbon_kg=UNKNOWN if carbon_kg is None else carbon_kg,
        )


@dataclass(frozen=True, slots=True)
class Who:
    """Whose money it is."""

    user: str
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """Money spent by a run, or held by one that is open."""

    who: Who
    at: datetime
    open: bool
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's recorded yes to one run of a job above the amount that needs one."""

    id: str
    job: str
    user: str
    up_to_usd: Decimal
    by: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a run is about to hold, beside what others spent and hold, and the unused approvals."""

    job: str
    at: datetime
    usd: Decimal
    committed: tuple[Committed, ...]
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run a machine is for.

    `reason` is the one given for a GPU; `plain` the cheapest machine without one that would do,
    None when there is none.
    """

    who: Who
    reason: str | None
    plain: Subject | Undecided | None
    reservation: Reservation | Undecided


class Section(Protocol):
    """A mapping in the policy file. What a key's value cannot be is refused, with its place."""

    def __iter__(self) -> Iterator[str]: ...
    def is_mapping(self, key: str) -> bool: ...
    def section(self, key: str) -> Self | None: ...
    def names(self, key: str) -> tuple[str, ...]: ...
    def value(self, key: str, parse: Callable[[str], T]) -> T | None: ...
    def refuse_unknown(self, known: Iterable[str]) -> None: ...
    def fail(self, key: str, what: str, hint: str | None = None) -> NoReturn: ...

    # What a single value may be, for `value`.
    def money_usd(self, text: str, /) -> Decimal: ...
    def count(self, text: str, /) -> int: ...
    def flag(self, text: str, /) -> bool: ...
    def share(self, text: str, /) -> float: ...
    def carbon_kg(self, text: str, /) -> Decimal: ...


class Rule(ABC):
    """One guardrail with its value. The first line of its docstring says what it forbids.

    `example` is a value as users write it; `companions` are further keys that it reads, with an
    example each; `compares` holds for a rule that looks at other machines than the one in
    question; `remedy` is what a user can do, with `job`, `user`, `usd` and `source` filled in.
    """

    __slots__ = ()
    example: ClassVar[str]
    companions: ClassVar[Mapping[str, str]] = MappingProxyType({})
    compares: ClassVar[bool] = False
    remedy: ClassVar[str] = "`mlbroker policy test` shows every rule that this job meets."

    @classmethod
    @abstractmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """The rule of `key` in the policy file; None where it asks for nothing."""

    @abstractmethod
    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """Why this run must not be on this machine; None when it may, or cannot be told yet."""


def _money(amount: float) -> Decimal:
    return Decimal(f"{amount:.6f}")


def plain_usd(usd: Decimal) -> str:
    """To the micro-dollar, without superfluous zeros: near a cap every digit may matter."""
    return f"{usd.quantize(MICRO_USD).normalize():f}"
