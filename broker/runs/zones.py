"""From machine types in regions to the zones to try: only where it can be launched, best first."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mlbroker.broker.clouds import CLOUDS
from mlbroker.broker.clouds.interface import Cloud, telling_price
from mlbroker.broker.errors import CloudError, InputError, MlbrokerError
from mlbroker.broker.prices.shortages import Shortage
from mlbroker.broker.runs.order import LaunchOption, kind_of, place_of
from mlbroker.policies.candidates import Filters
from mlbroker.pricing.offer import InstanceType, Market

# More places of one market than a run has attempts there are of no use.
ENOUGH = 12


def by_zone(
    candidates: Iterable[LaunchOption],
    opened: Callable[[str], Cloud],
    shortages: Iterable[Shortage],
    say: Callable[[str], None],
) -> tuple[LaunchOption, ...]:
    """The candidates zone by zone; places that lately had no capacity come last.

    Raises InputError when no zone has any of them, and what the first one's cloud says instead of
    an answer; runners-up on clouds that are not to be used are passed over.
    """
    found: list[LaunchOption] = []
    first: LaunchOption | None = None
    closed: set[str] = set()
    too_dear = False
    places: Counter[str] = Counter()
    for candidate in candidates:
        first = first or candidate
        # Spot machines are the cheapest: they would leave no room for those on demand behind them.
        if candidate.cloud in closed or places[candidate.market] >= ENOUGH:
            continue
        try:
            cloud = opened(candidate.cloud)
            zones = cloud.zones_for(candidate.region, candidate.instance_type, candidate.zone)
        except (CloudError, InputError):
            if candidate.cloud == first.cloud:
                raise
            closed.add(candidate.cloud)
            continue
        payable = _payable(cloud, candidate, zones, say)
        found += [replace(candidate, zone=zone) for zone in payable]
        places[candidate.market] += len(payable)
        if candidate is first:
            too_dear = len(payable) < len(zones)
        if all(places[market] >= ENOUGH for market in Market):
            break
    if first is not None and (not found or kind_of(found[0]) != kind_of(first)):
        what = (
            f"spot {first.instance_type} costs more than this run may pay in {first.region}"
            if too_dear
            else f"{first.instance_type} is offered in no zone of {first.region} that is set up"
        )
        if not found:
            hint = "Plan with the prices of today: mlbroker prices refresh." if too_dear else None
            raise InputError(f"{what}, and none of its runners-up can be had", hint=hint)
        say(f"Note: {what}: the next best is taken.")
    short = {
        (s.cloud, s.region, s.zone, s.instance_type, Market.SPOT if s.spot else Market.ON_DEMAND)
        for s in shortages
    }
    return tuple(sorted(found, key=lambda candidate: place_of(candidate) in short))


def _payable(
    cloud: Cloud,
    candidate: LaunchOption,
    zones: Sequence[str | None],
    say: Callable[[str], None],
) -> Sequence[str | None]:
    """Of a spot machine: the cheapest zone first, and none that asks more than may be paid."""
    teller = telling_price(cloud) if candidate.market == Market.SPOT and zones else None
    if teller is None:
        return zones
    what, most = candidate.instance_type, candidate.dearest.price_per_hour_usd
    try:
        prices = teller.spot_prices(candidate.region, what)
    except CloudError as error:
        say(f"Note: what {what} costs now in {candidate.region} is not known: {error}")
        return zones
    for zone in zones:
        if zone is not None and prices.get(zone, most) > most:
            say(
                f"Note: spot {what} in {zone} is passed over: it costs {prices[zone]:f} USD/h now, "
                f"and this run may pay {most:f} USD/h."
            )
    payable = [zone for zone in zones if prices.get(zone or "", most) <= most]
    return sorted(payable, key=lambda zone: prices.get(zone or "", most))


def why_not_in(cloud: Cloud, name: str, region: str) -> str | None:
    """Why nothing can be launched in a region, and what to do about it; None where it can be."""
    if region in cloud.regions_set_up():
        return None
    return f"{name} is not set up there. {cloud.how_to_set_up(region)}"


class NothingSetUp(CloudError):
    """There is no cloud that anything could be launched on."""


def open_regions(
    clouds: Iterable[str], opened: Callable[[str], Cloud], say: Callable[[str], None]
) -> tuple[str, ...]:
    """The regions of these clouds that can be launched in. Clouds without any are said."""
    found: set[str] = set()
    closed: dict[str, MlbrokerError] = {}
    for name in clouds:
        try:
            regions = opened(name).regions_set_up()
        except (CloudError, InputError) as error:
            closed[name] = error
            continue
        found |= regions
        if not regions:
            hint = f"`mlbroker init --cloud {name}` writes what an account needs once."
            closed[name] = InputError("it is set up in no region", where=name, hint=hint)
    if closed and not found:
        raise NothingSetUp(
            "nothing is set up to launch on: "
            + "; ".join(f"{why.where or name}: {why.what}" for name, why in closed.items()),
            hint="`mlbroker doctor --cloud NAME` says what to do. This machine needs nothing: "
            "--on local.",
        )
    for name, why in closed.items():
        say(f"Note: nothing is launched on {name}: {why}")
    return tuple(sorted(found))


def launchable_in(
    wanted: Filters,
    kinds: Iterable[InstanceType],
    opened: Callable[[str], Cloud],
    say: Callable[[str], None],
) -> Filters:
    """The same, only where mlbroker is set up: regions that are not are passed over."""
    names = wanted.instance_types
    clouds = {kind.cloud for kind in kinds if not names or kind.name in names} & CLOUDS.keys()
    if wanted.clouds:
        clouds &= set(wanted.clouds)
    regions = open_regions(sorted(clouds), opened, say)
    if wanted.regions:
        both = tuple(region for region in wanted.regions if region in regions)
        if not both:
            raise InputError(
                f"mlbroker is set up in {', '.join(regions)}, not there",
                where="--region",
                hint="`mlbroker init --cloud NAME --region NAME` writes what is missing.",
            )
        regions = both
    return wanted._replace(regions=regions)
