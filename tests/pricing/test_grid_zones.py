"""Grid zones of regions: what is known stands in the book, and nothing is guessed."""

import pytest

from mlbroker.broker.prices import embedded
from mlbroker.pricing import grid_zones
from mlbroker.pricing.grid_zones import place, places_on
from mlbroker.pricing.region import Region

REGIONS = [Region(*row[:4]) for row in embedded.load()["regions"]]
PLACES = {place(region) for region in REGIONS}


def test_every_place_that_is_listed_is_in_the_book() -> None:
    listed = {name for names in grid_zones._ZONES.values() for name in names.split()}
    assert listed <= PLACES


def test_every_country_that_is_listed_has_regions() -> None:
    for zone in grid_zones._COUNTRY_OF:
        assert places_on(zone, REGIONS), zone


@pytest.mark.parametrize(
    ("zone", "some"),
    [
        ("DE", {"aws/eu-central-1", "gcp/europe-west3", "azure/germanywestcentral"}),
        (" de ", {"aws/eu-central-1"}),
        ("US-MIDA-PJM", {"aws/us-east-1", "gcp/us-east4", "azure/eastus"}),
        ("PJM_SOUTHWEST_OH", {"aws/us-east-2"}),
        ("GB", {"aws/eu-west-2", "azure/uksouth"}),
        ("UK", {"aws/eu-west-2", "azure/uksouth"}),
    ],
)
def test_zones_of_either_source_tell_their_regions(zone: str, some: set[str]) -> None:
    assert some <= set(places_on(zone, REGIONS))


@pytest.mark.parametrize("zone", ["US", "JP", "IN", "AU", "CA", "ATLANTIS", ""])
def test_a_country_with_many_grids_or_none_tells_nothing(zone: str) -> None:
    assert places_on(zone, REGIONS) == ()


def test_no_region_is_on_two_zones_of_one_source() -> None:
    maps = [zone for zone in grid_zones._ZONES if "-" in zone]
    maps += [
        zone for zone in grid_zones._COUNTRY_OF if len(zone) == 2 and zone not in ("UK", "SE", "NZ")
    ]
    for region in REGIONS:
        assert sum(place(region) in places_on(zone, [region]) for zone in maps) <= 1, place(region)
