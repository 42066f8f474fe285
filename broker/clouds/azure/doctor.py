"""Whether a subscription can be launched in: asked for real, and nothing is left behind."""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from mlbroker.broker.clouds.azure import kill
from mlbroker.broker.clouds.azure.calls import Calls, translated
from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.azure.images import (
    PLAIN,
    PLAIN_GEN1,
    WITH_DRIVER,
    image_named,
    plan_of,
)
from mlbroker.broker.clouds.azure.machines import listed
from mlbroker.broker.clouds.azure.names import ENDER, NAME, Names
from mlbroker.broker.clouds.azure.network import how_to_set_up, regions_set_up, spot_in
from mlbroker.broker.clouds.azure.roles import GUEST, GUEST_DATA, LAUNCHER, LAUNCHER_DATA, own_blobs
from mlbroker.broker.clouds.azure.shape import shape_of
from mlbroker.broker.clouds.checks import (
    Check,
    bucket_works,
    kill_works,
    probe,
    seats_free,
    secrets_work,
    tried,
)
from mlbroker.broker.clouds.seats import SEATS
from mlbroker.broker.errors import MlbrokerError

PROBE_SIZE = "Standard_D2s_v5"
# The quotas that every run meets; Azure names one more for each family of sizes.
QUOTAS = ("cores", "lowPriorityCores")


def checks(regions: tuple[str, ...], now: datetime) -> Iterator[Check]:
    """Everything a run needs, in the order in which a run would need it."""
    calls = Calls()
    try:
        subscription = calls.subscription
        known = sorted(regions_set_up(calls))
    except MlbrokerError as error:
        yield Check("credentials", False, error.what, error.hint)
        return
    yield Check("credentials", True, f"subscription {subscription}")
    if not regions and not known:
        yield Check("set-up", False, "no region is set up", how_to_set_up("eastus"))
        return
    cloud = AzureCloud(calls)
    for region in regions or known:
        intent, names = probe("azure", region, PROBE_SIZE, now), Names(subscription, region)
        for name, attempt in (
            ("bucket", partial(bucket_works, cloud, intent)),
            ("seats", partial(seats_free, cloud, region)),
            ("machines' identities", partial(_identities, calls, names)),
            ("secrets", partial(secrets_work, cloud, intent, "the key vault of a seat")),
            ("network", partial(_network, calls, region)),
            ("images", partial(_images, calls, region)),
            ("kill switch", partial(kill_works, cloud, intent)),
            ("machines", partial(_audit, calls, region)),
        ):
            yield tried(f"{region}: {name}", attempt, how_to_set_up(region))
        yield from _quotas(calls, region)


def policies(subscription: str | None, region: str) -> str:
    """The least rights of launcher and machines."""
    names = Names(subscription or "SUBSCRIPTION", region)
    documents = {
        "launcher (actions, in the subscription)": list(LAUNCHER),
        f"launcher (data actions, in {names.group})": list(LAUNCHER_DATA),
        "machines (data actions, on the key vault of their seat)": list(GUEST_DATA),
        f"machines of seat 00 (the same, on container {NAME}, on condition)": own_blobs("00"),
        "machines (actions, given in each run's own group)": list(GUEST),
    }
    return json.dumps(documents, indent=2)


def _network(calls: Calls, region: str) -> str:
    spot = spot_in(calls, Names(calls.subscription, region))
    how = "an address of their own" if spot.needs_address else "a NAT gateway"
    return f"lets nobody in; machines reach the internet through {how}"


def _identities(calls: Calls, names: Names) -> str:
    for identity in (names.ender, *map(names.seat, SEATS)):
        kill.principal_of(calls, names, identity)
    return f"{ENDER}, and {len(SEATS)} for seats"


def _images(calls: Calls, region: str) -> str:
    """Those that mlbroker chooses are there, and ask nobody to accept anything."""
    usual = (*PLAIN.values(), PLAIN_GEN1, WITH_DRIVER)
    carrying = [urn for urn in usual if plan_of(calls, region, image_named(urn)) is not None]
    if carrying:
        raise MlbrokerError(f"{', '.join(carrying)} has come to carry a plan")
    chosen = shape_of(calls, region, PROBE_SIZE, None).image
    return f"{chosen['offer']} {chosen['sku']}, and {len(usual) - 1} for other sizes"


def _audit(calls: Calls, region: str) -> str:
    """Every living machine has what will end it."""
    names = Names(calls.subscription, region)
    here = [m for m in listed(calls, {}) if m.zone and m.zone.startswith(region)]
    bare = [m.id for m in here if not kill.is_armed(calls, names, m.id)]
    if bare:
        raise MlbrokerError(
            f"nothing will end {', '.join(bare)}",
            hint="`mlbroker reconcile` ends what its ledger knows; else delete the group.",
        )
    return f"{len(here)} of mlbroker's run, each with its end armed"


def _quotas(calls: Calls, region: str) -> Iterator[Check]:
    try:
        with translated(f"azure {region}"):
            usages = {u.name.value: u for u in calls.compute.usage.list(region)}
    except MlbrokerError as error:
        yield Check(f"{region}: quota", None, error.what, error.hint)
        return
    for name in QUOTAS:
        usage = usages.get(name)
        if usage is None:
            yield Check(f"{region}: quota {name}", None, "Azure names no such quota here")
            continue
        left = usage.limit - usage.current_value
        says = f"{usage.current_value} of {usage.limit} used"
        hint = "Ask Azure for more: Quotas, in the portal."
        yield Check(f"{region}: quota {name}", left > 0, says, hint if left <= 0 else None)
