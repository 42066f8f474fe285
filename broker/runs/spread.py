"""From machine types in regions to the zones to try: only where it can be launched, best first."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from mlbroker.broker.clouds.seam import Cloud, Denied
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.files.nodes import ON_PREM
from mlbroker.broker.prices.capacity import Shortage
from mlbroker.broker.runs.order import Candidate
from mlbroker.pricing.offer import Market

# More places than a run has attempts are of no use.
ENOUGH = 12

Place = tuple[str, str, str | None, str, str]


@runtime_checkable
class Placed(Protocol):
    """A cloud with zones: each has its own capacity, so each is a candidate of its own."""

    def places(self, region: str, instance_type: str, zone: str | None) -> tuple[str, ...]:
        """The zones to launch this in; empty where the region is not set up or has no such type."""
        ...

    def regions_set_up(self) -> frozenset[str]:
        """The regions that can be launched in."""
        ...

    def how_to_set_up(self, region: str) -> str:
        """What to do so that a region can be launched in."""
        ...


def spread(
    candidates: Iterable[Candidate],
    opened: Callable[[str], Cloud],
    shortages: Iterable[Shortage],
    say: Callable[[str], None],
) -> tuple[Candidate, ...]:
    """The candidates zone by zone; places that lately had no capacity come last."""
    found: list[Candidate] = []
    first: Candidate | None = None
    closed: dict[str, MlbrokerError] = {}
    for candidate in candidates:
        first = first or candidate
        if candidate.cloud in closed:
            continue
        try:
            found += _zones_of(candidate, opened(candidate.cloud))
        except (Denied, InputError) as error:
            # Nobody is signed in there: another cloud of the plan may do.
            closed[candidate.cloud] = error
        if len(found) >= ENOUGH:
            break
    if first is not None and first.cloud in closed:
        if not found:
            raise closed[first.cloud]
        say(
            f"Note: the plan's choice, {first.instance_type} on {first.cloud}, cannot be launched: "
            f"{closed[first.cloud]}"
        )
        first = None
    if first is not None and (not found or _kind(found[0]) != _kind(first)):
        cloud = opened(first.cloud)
        hint = cloud.how_to_set_up(first.region) if isinstance(cloud, Placed) else None
        what = (
            f"the plan's choice, {first.instance_type} in {first.region}, cannot be launched: "
            f"{first.cloud} is not set up there"
        )
        if not found:
            raise InputError(f"{what}, nor where any of its runners-up is", hint=hint)
        say(f"Note: {what}. {hint}")
    short = {
        (s.cloud, s.region, s.zone, s.instance_type, Market.SPOT if s.spot else Market.ON_DEMAND)
        for s in shortages
    }
    return tuple(sorted(found, key=lambda candidate: _place(candidate) in short))


def open_regions(
    clouds: Iterable[str], opened: Callable[[str], Cloud], say: Callable[[str], None]
) -> tuple[str, ...]:
    """The regions of these clouds that can be launched in. Clouds without any are said."""
    found: set[str] = set()
    closed: dict[str, MlbrokerError] = {}
    for name in clouds:
        try:
            cloud = opened(name)
            regions = cloud.regions_set_up() if isinstance(cloud, Placed) else {ON_PREM}
        except (Denied, InputError) as error:
            closed[name] = error
            continue
        found |= regions
        if not regions:
            hint = f"`mlbroker init --cloud {name}` writes what an account needs once."
            closed[name] = InputError("it is set up in no region", where=name, hint=hint)
    if closed and not found:
        raise next(iter(closed.values()))
    for name, why in closed.items():
        say(f"Note: nothing is launched on {name}: {why}")
    return tuple(sorted(found))


def _zones_of(candidate: Candidate, cloud: Cloud) -> list[Candidate]:
    if not isinstance(cloud, Placed):
        return [candidate]
    zones = cloud.places(candidate.region, candidate.instance_type, candidate.zone)
    return [replace(candidate, zone=zone) for zone in zones]


def _kind(at: Candidate) -> tuple[str, str, str, str]:
    return at.cloud, at.region, at.instance_type, at.market


def _place(at: Candidate) -> Place:
    return at.cloud, at.region, at.zone, at.instance_type, at.market
