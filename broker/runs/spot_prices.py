"""What spot machines cost now, as far as their cloud tells; asked every few minutes."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from mlbroker.broker.clouds.interface import Cloud, telling_price
from mlbroker.broker.errors import CloudError
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill

EVERY = timedelta(minutes=5)


class SpotPrices:
    """Today's bill of a spot option; None where its zone asks more than the run may pay."""

    def __init__(self, opened: Callable[[str], Cloud], clock: Clock) -> None:
        self._opened = opened
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[datetime, Mapping[str, Decimal]]] = {}

    def __call__(self, option: LaunchOption) -> Bill | None:
        """At the price of its zone; at the planned one where none is told."""
        price = self._told(option).get(option.zone or "", option.bill.price_per_hour_usd)
        if price > option.dearest.price_per_hour_usd:
            return None
        return replace(option.bill, price_per_hour_usd=price)

    def _told(self, option: LaunchOption) -> Mapping[str, Decimal]:
        key, now = (option.cloud, option.region, option.instance_type), self._clock.now()
        asked_at, prices = self._known.get(key, (now - EVERY, {}))
        if now - asked_at >= EVERY:
            teller = telling_price(self._opened(option.cloud))
            # What was told before is nearer to the truth than nothing.
            with suppress(CloudError):
                prices = teller.spot_prices(option.region, option.instance_type) if teller else {}
            self._known[key] = now, prices
        return prices
