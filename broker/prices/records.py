"""One price as it travels between files, feeds and the index."""

from datetime import date
from typing import NamedTuple

from mlbroker.pricing.offer import Offer

# A price as `prices export` writes it: the columns of the contract, in order.
COLUMNS = tuple(name for name in Offer._fields if name != "interruption_rate")


class PriceRecord(NamedTuple):
    """A price for one machine of a type in a region; `day` is the ordinal of its date.

    A named tuple and not a dataclass, because a book has more than a million of them.
    """

    cloud: str
    region: str
    instance_type: str
    spot: bool
    price_nano_usd: int
    day: int
    source: str
    stale: bool = False
    interruption_rate: float | None = None


class TypeRecord(NamedTuple):
    """A machine type that the embedded book does not know, as a feed described it.

    `hardware` is in the order of the fields of `Hardware`, with the GPU as (model, memory in GiB).
    """

    cloud: str
    name: str
    hardware: tuple[object, ...]
    day: int
    source: str


# Prices older than half a year are stale: vendors change list prices about yearly, spot weekly.
STALE_AFTER_DAYS = 180


def stale_before(today: date) -> int:
    """Ordinal of the first day whose prices still count as fresh."""
    return today.toordinal() - STALE_AFTER_DAYS
