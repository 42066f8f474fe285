"""The machines of a service: types that may serve it, and what runs of which.

A fleet is what always runs, of any types, and one type that the engine starts and stops with the
load above it.
"""

from decimal import Decimal
from math import ceil
from typing import NamedTuple

from mlbroker.policies.service.interface import UNBOUNDED
from mlbroker.policies.service.mixed_replay import Group
from mlbroker.pricing.offer import Market


class Option(NamedTuple):
    """A machine type at one place, what it costs, and the requests a second that it serves at the
    objective. Of a stream `tokens` are those of a request. On spot it costs what stands in for it,
    too, and for the share `missing` of the time one zone's replicas are gone."""

    name: str
    cloud: str
    region: str
    market: Market
    usd_per_h: Decimal
    rps: float
    known: str = "stated"
    tokens: float | None = None
    missing: float = 0.0


class Limits(NamedTuple):
    """The share of the requests to be served, and how many replicas there may be in all. An engine
    that does not scale has always the same number."""

    share: float
    least: int = 1
    most: int = UNBOUNDED
    scales: bool = True


class Fleet(NamedTuple):
    """What always runs, and `least` to `most` replicas of the type that follows the load.

    By replay: the share that is `served`, how many replicas follow on average, and what all cost
    an hour on average.
    """

    base: tuple[tuple[Option, int], ...]
    peak: Option | None
    least: int
    most: int
    served: float
    following: float
    usd_per_h: Decimal

    @property
    def always(self) -> int:
        """How many always run, beside the fewest of those that follow."""
        return sum(number for _, number in self.base)

    @property
    def base_usd_per_h(self) -> Decimal:
        """What those cost."""
        return sum((number * option.usd_per_h for option, number in self.base), Decimal(0))

    @property
    def replicas(self) -> tuple[int, int]:
        """The fewest and the most in all."""
        return self.always + self.least, self.always + self.most

    @property
    def group(self) -> Group:
        """As it is played."""
        base_rps = sum(number * option.rps for option, number in self.base)
        return Group(base_rps, self.peak.rps if self.peak else 1.0, self.least, self.most)

    def at(self, rate_rps: float) -> int:
        """How many replicas this rate needs."""
        group = self.group
        above = ceil((rate_rps - group.base_rps) / group.rps - 1e-9)
        return self.always + min(max(above, group.least), group.most)

    def for_budget(self, usd_per_h: Decimal) -> int | None:
        """How many may run all the time for so much an hour, of the most that there are; None where
        what always runs is too dear already."""
        left = usd_per_h - self.base_usd_per_h
        if left < 0:
            return None
        if self.peak is None or not self.peak.usd_per_h:
            return self.always + self.most
        return self.always + min(int(left // self.peak.usd_per_h), self.most)


class Single(NamedTuple):
    """The cheapest fleet of one type; None where the most replicas serve too little, and how many
    `would_do`."""

    option: Option
    fleet: Fleet | None
    would_do: int


class Choice(NamedTuple):
    """The types by themselves, the cheapest first, and the cheapest fleet of all. A type that was
    not played costs more than one that was, or may serve as much in no cheaper number."""

    singles: tuple[Single, ...]
    best: Fleet | None

    @property
    def single(self) -> Fleet | None:
        """The cheapest of one type."""
        return next((each.fleet for each in self.singles if each.fleet is not None), None)
