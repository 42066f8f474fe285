"""One thing that has to be right before a cloud can be used, and what to do when it is not."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.rented import RentedCloud
from mlbroker.broker.clouds.seats import SEATS, SeatedCloud
from mlbroker.broker.errors import MlbrokerError


class Check(NamedTuple):
    """`ok` is None where it could not be found out."""

    name: str
    ok: bool | None
    says: str
    hint: str | None = None


def tried(name: str, attempt: Callable[[], str], hint: str) -> Check:
    """What came of an attempt; `hint` is for errors that have none of their own."""
    try:
        return Check(name, True, attempt())
    except MlbrokerError as error:
        return Check(name, False, error.what, error.hint or hint)


def probe(cloud: str, region: str, instance_type: str, now: datetime) -> Intent:
    """An attempt that is never made."""
    # Some things bear their attempt's name in all regions alike.
    token = f"mlb-doctor-{region}-{now:%Y%m%d%H%M%S%f}"
    return Intent(
        token=token, run_id=token, attempt=1, job="doctor", cloud=cloud, region=region, zone=None,
        instance_type=instance_type, market="on_demand", nodes=1, price_per_hour_usd=Decimal(0),
        intended_at=now, kill_at=now + timedelta(days=1), disk_gb=100,
    )  # fmt: skip


def secrets_work(cloud: RentedCloud, intent: Intent, through: str) -> str:
    """Handed over and taken back, with all that was lent for it."""
    try:
        cloud.hand_over(intent, {"PROBE": "probe"})
    finally:
        cloud.discard(intent)
    return f"can be handed over through {through}"


def kill_works(cloud: RentedCloud, intent: Intent) -> str:
    """Armed and taken away again, whatever comes between."""
    try:
        cloud.arm_kill(intent)
    finally:
        cloud.disarm_kill(intent)
    return "can be armed outside the machine; a second one is on the machine itself"


def bucket_works(cloud: RentedCloud, intent: Intent) -> str:
    """It is tried, not read from policies."""
    cloud.stop_job(intent, "doctor")
    cloud.report(intent)
    cloud.box(intent).discard()
    return "can be written, read and emptied"


def seats_free(cloud: SeatedCloud, region: str) -> str:
    """So many attempts more can stand in the region at once."""
    free = len(SEATS) - len(cloud.leases(region))
    if not free:
        raise MlbrokerError(
            f"all {len(SEATS)} are taken",
            hint="`mlbroker reconcile` settles runs whose client died, and frees their seats.",
        )
    return f"{free} of {len(SEATS)} free"
