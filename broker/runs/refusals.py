"""What a vendor's no means: its name in the ledger, and what later plans should know of it."""

from datetime import datetime
from pathlib import Path

from mlbroker.broker.clouds.interface import Denied, Intent, NoCapacity, NoQuota
from mlbroker.broker.errors import CloudError
from mlbroker.pricing.billing import OWN_CLOUDS
from mlbroker.pricing.offer import Market

_NAMES: dict[type[CloudError], str] = {
    NoCapacity: "no_capacity",
    NoQuota: "no_quota",
    Denied: "denied",
}


def refusal_of(error: CloudError) -> str:
    """What the ledger calls a create that gave no machine."""
    return _NAMES.get(type(error), "unclear")


def remember(home: Path, intent: Intent, error: CloudError, now: datetime) -> None:
    """Plans look elsewhere for a while. The user's own machines are waited for instead."""
    if not isinstance(error, NoCapacity) or intent.cloud in OWN_CLOUDS:
        return
    from mlbroker.broker.prices import capacity

    spot = intent.market == Market.SPOT
    place = (intent.cloud, intent.region, intent.zone, intent.instance_type, spot)
    capacity.remember(home, capacity.Shortage(*place, at=now, detail=str(error)))
