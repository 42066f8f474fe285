"""What spot machines cost on the loopback AWS: by zone, as it changes, billed hour by hour."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.support.aws.machines import Vm
from tests.support.aws.request import Request, refuse
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer
from tests.support.price_servers import Prices

from mlbroker.broker.prices import browse
from mlbroker.broker.prices.price_book import open_book

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Price(NamedTuple):
    """What a zone asks for an hour of a type, from a moment on."""

    at: datetime
    zone: str
    kind: str
    usd: float


class SpotMarket:
    """Until a test sets a price, zone a asks what the book says, and zone b half as much more.

    Zones without any price take every bid, tell nothing, and bill nothing.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._set: list[Price] = []

    def ask(self, zone: str, kind: str, usd: float) -> None:
        """From now on, by whole seconds, as EC2 counts."""
        new = Price(self._clock.now().replace(microsecond=0), zone, kind, usd)
        self._set = [price for price in self._set if price[:3] != new[:3]] + [new]

    def clear(self) -> None:
        self._set.clear()

    def is_set(self, zone: str) -> bool:
        """Whether a test named a price there."""
        return any(price.zone == zone for price in self._set)

    def refusal(self, zone: str, kind: str, bid_usd: float) -> Answer | None:
        """What EC2 says to a bid that is none, or too low."""
        if bid_usd <= 0.001:
            return refuse("InvalidParameterValue", f"Invalid value '{bid_usd}' for maxPrice.")
        now = self.price(zone, kind)
        if bid_usd >= now:
            return None
        return refuse(
            "SpotMaxPriceTooLow",
            f"Your Spot request price of {bid_usd} is lower than the minimum required Spot "
            f"request fulfillment price of {now}.",
        )

    def price(self, zone: str, kind: str, at: datetime | None = None) -> float:
        """In effect at that moment, or now; 0 where none was ever."""
        moment = at or self._clock.now()
        known = [p for p in self._of(zone[:-1], {kind}) if p.zone == zone and p.at <= moment]
        return max(known).usd if known else 0.0

    def billed_usd(self, vm: Vm, now: datetime) -> float:
        """Each hour at the price of its beginning, never above the bid; a minute at least."""
        start, usd = vm.launched_at, 0.0
        end = start + timedelta(seconds=max(60.0, vm.billed_s(now)))
        while start < end:
            price = min(self.price(vm.zone, vm.instance_type, start), vm.bid_usd)
            usd += price * (min(end, start + HOUR) - start) / HOUR
            start += HOUR
        return usd

    def history(self, request: Request) -> Answer:
        """DescribeSpotPriceHistory: what was in effect at the start, and what changed since."""
        asked = request.params
        kinds = set(request.listed("InstanceType"))
        since = datetime.fromisoformat(asked["StartTime"])
        told = [
            p
            for p in self._of(request.region, kinds)
            if asked.get("AvailabilityZone") in (None, p.zone) and p.at <= self._clock.now()
        ]
        first: dict[tuple[str, str], Price] = {}
        for p in sorted(told):
            if p.at <= since:
                first[p.zone, p.kind] = p
        shown = [p for p in told if p.at > since or first[p.zone, p.kind] == p]
        # The newest comes first.
        items = "".join(_item(p) for p in sorted(shown, reverse=True))
        text = (
            '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            f"<requestId>1</requestId><spotPriceHistorySet>{items}</spotPriceHistorySet>"
            "<nextToken></nextToken></DescribeSpotPriceHistoryResponse>"
        )
        return Answer("200 OK", [("Content-Type", "text/xml")], text.encode())

    def _of(self, region: str, kinds: set[str]) -> Iterator[Price]:
        ours = [p for p in self._set if p.zone[:-1] == region and (not kinds or p.kind in kinds)]
        yield from ours
        named = {p.kind for p in ours}
        if kinds and kinds <= named:
            return  # the book is not opened for nothing
        for kind, usd in prices().at("aws", region, True).items():
            if (not kinds or kind in kinds) and kind not in named:
                yield Price(LONG_AGO, f"{region}a", kind, float(usd))
                yield Price(LONG_AGO, f"{region}b", kind, round(float(usd) * 1.5, 6))


def _item(price: Price) -> str:
    return (
        f"<item><instanceType>{price.kind}</instanceType>"
        "<productDescription>Linux/UNIX</productDescription>"
        f"<spotPrice>{price.usd:.6f}</spotPrice>"
        f"<timestamp>{price.at:%Y-%m-%dT%H:%M:%S.%f}Z</timestamp>"
        f"<availabilityZone>{price.zone}</availabilityZone></item>"
    )


@cache
def prices() -> Prices:
    """AWS's, of the book that ships."""
    with TemporaryDirectory() as home:
        book = open_book(Path(home))
        found = Prices((row for row in browse.prices(book) if row.cloud == "aws"), {})
        book.close()
    return found
