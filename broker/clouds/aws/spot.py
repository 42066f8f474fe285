"""What spot machines cost: now, zone by zone, and over the life of one, as EC2's history tells.

An hour of a spot machine, counted from its launch, costs what its zone asked when that hour began,
by the second ("you will continue to pay the Spot price that's in effect at the beginning of each
instance-hour": AWS news, 2017-11, "Amazon EC2 Spot introduces new pricing model"), and never more
than the bid. What AWS waives for machines that it takes away in their first hour is charged.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import NamedTuple

from mlbroker.broker.clouds.aws.calls import Calls, translated
from mlbroker.broker.clouds.interface import Intent

# As the price book counts: whole billionths of a dollar.
_STEP = Decimal("1e-9")
_HOUR = timedelta(hours=1)


class Change(NamedTuple):
    """From this moment on an hour costs so much in this zone."""

    at: datetime
    zone: str
    usd: Decimal


def spot_prices(calls: Calls, region: str, instance_type: str) -> dict[str, Decimal]:
    """USD for one machine and hour now, by zone."""
    return {c.zone: c.usd for c in _changes(calls, region, instance_type, datetime.now(UTC))}


def price_paid(calls: Calls, intent: Intent, began: datetime, ended: datetime) -> Decimal | None:
    """USD for one machine and hour, on average; None where the history does not tell."""
    if intent.zone is None:
        return None
    changes = _changes(
        calls, intent.region, intent.instance_type, began, AvailabilityZone=intent.zone
    )
    return average(changes, began, ended, intent.most_per_hour_usd)


def average(
    changes: Sequence[Change], began: datetime, ended: datetime, most_usd: Decimal
) -> Decimal | None:
    """What the hours of a life cost at prices that changed so, in order; rounded up."""
    total, seconds = Decimal(0), Decimal(0)
    for start, length_s in _hours(began, ended):
        price = _in_effect(changes, start)
        if price is None:
            return None
        total += min(price, most_usd) * length_s
        seconds += length_s
    return (total / seconds).quantize(_STEP, ROUND_UP)


def _hours(began: datetime, ended: datetime) -> Iterator[tuple[datetime, Decimal]]:
    """The beginnings of a machine's hours and their lengths: the last is not a whole one."""
    start = began
    while start < ended or start == began:
        length = min(_HOUR, max(ended - start, timedelta(seconds=1)))
        yield start, Decimal(str(length.total_seconds()))
        start += _HOUR


def _in_effect(changes: Sequence[Change], at: datetime) -> Decimal | None:
    return next((change.usd for change in reversed(changes) if change.at <= at), None)


def _changes(
    calls: Calls, region: str, instance_type: str, since: datetime, **more: str
) -> list[Change]:
    """In their order, and before them what was in effect at `since`."""
    with translated(f"aws {region}"):
        told = calls.listed(
            "ec2", region, "describe_spot_price_history", "SpotPriceHistory",
            InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], StartTime=since,
            **more,
        )  # fmt: skip
    found = [
        Change(one["Timestamp"], str(one["AvailabilityZone"]), Decimal(one["SpotPrice"]))
        for one in told
    ]
    return sorted(change for change in found if change.usd.is_finite() and change.usd > 0)
