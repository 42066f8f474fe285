"""AWS: on-demand prices from the price list, spot prices and hardware from EC2.

With credentials the price list is asked for just the machines (GetProducts). Without, the public
bulk file of each region is streamed, and spot prices stay as they were.
"""

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mlbroker.broker.http import Http, NotModified
from mlbroker.broker.prices.feeds.answers import by_region, expecting
from mlbroker.broker.prices.feeds.aws.clients import Clients, why_not
from mlbroker.broker.prices.feeds.aws.products import read_offer_file, read_products, type_record
from mlbroker.broker.prices.feeds.interface import (
    Batch,
    Cover,
    FetchPlan,
    Known,
    Rate,
    Scope,
    Task,
)
from mlbroker.broker.prices.quotas import Quota
from mlbroker.broker.prices.records import PriceRecord
from mlbroker.pricing.price_units import nano_from_usd

BULK_URL = "https://pricing.us-east-1.amazonaws.com"
ADVISOR_URL = "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json"
# Bands of the Spot Advisor -> the middle of each; the open one, above 20 %, counts as 25 %.
_BANDS = (0.025, 0.075, 0.125, 0.175, 0.25)
# AWS counts vCPUs by groups of families, on-demand and spot apart.
_STANDARD = ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z")
_CODES: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "L-1216C47A": (False, _STANDARD),
    "L-417A185B": (False, ("p", "p5")),
    "L-DB2E81BA": (False, ("g", "gr", "vt")),
    "L-7295265B": (False, ("x",)),
    "L-1945791B": (False, ("inf",)),
    "L-2C3B7624": (False, ("trn",)),
    "L-6E869C2A": (False, ("dl",)),
    "L-74FC7D96": (False, ("f",)),
    "L-F7808C92": (False, ("hpc",)),
    "L-43DA4232": (False, ("u",)),
    "L-34B43A08": (True, _STANDARD),
    "L-7212CCBC": (True, ("p",)),
    "L-C4BD4855": (True, ("p5",)),
    "L-3819A6DF": (True, ("g", "gr", "vt")),
    "L-E3A00192": (True, ("x",)),
    "L-B5D1601B": (True, ("inf",)),
    "L-6B0D517C": (True, ("trn",)),
    "L-85EED4F7": (True, ("dl",)),
    "L-88CF9481": (True, ("f",)),
}


class AwsFeed:
    """Prices, spot prices, interruption rates, new machine types and quotas of AWS."""

    cloud = "aws"

    def plan(self, scope: Scope, known: Known, http: Http) -> FetchPlan:
        """One task a region and kind of price."""
        clients = Clients.connect()
        regions = sorted(scope.regions or known.offered)

        def task(region: str, what: str, fetch: Callable[..., Batch], *more: Any) -> Task:
            wanted = expecting(f"{region}: not shaped as AWS's answers are", "aws")
            return Task(f"{region} {what}", lambda: wanted(fetch)(region, scope, known, *more))

        tasks = [task(region, "on-demand", _on_demand, http, clients) for region in regions]
        notes = []
        if clients:
            # Spot prices are only told to accounts that have the region switched on.
            live = clients.regions()
            kinds = (("spot", _spot), ("machine types", _types))
            tasks += [
                task(region, what, fetch, clients)
                for what, fetch in kinds
                for region in regions
                if region in live
            ]
            if without := sorted(set(regions) - live):
                notes.append(f"no spot prices of regions not switched on: {', '.join(without)}")
        else:
            notes.append(
                f"{why_not().what}: spot prices stay as they were; on-demand prices come from the"
                " public bulk files"
            )
        tasks.append(Task("spot interruption rates", lambda: _advisor(scope, http)))
        return FetchPlan(tasks, notes)

    def quotas(self, regions: Collection[str], http: Http) -> list[Quota]:
        """EC2's vCPU quotas where the account is; what is in use AWS does not say with them."""
        clients = Clients.connect()
        if clients is None:
            raise why_not()

        def of(region: str) -> list[Quota]:
            found = []
            for entry in clients.quotas(region):
                spot, families = _CODES.get(entry["QuotaCode"], (False, ()))
                if families:
                    name, limit = entry["QuotaName"], float(entry["Value"])
                    found.append(Quota("aws", region, spot, name, "vcpu", limit, None, families))
            return found

        return by_region(of, set(regions) & clients.regions())


def _on_demand(
    region: str, scope: Scope, known: Known, http: Http, clients: Clients | None
) -> Batch:
    url = validator = None
    if clients:
        prices, dishonest = read_products(clients.products(region, scope))
    else:
        base = os.environ.get("MLBROKER_AWS_PRICES_URL", BULK_URL).rstrip("/")
        url = f"{base}/offers/v1.0/aws/AmazonEC2/current/{region}/index.json"
        covers = (Cover(region, False),)
        try:
            # A conditional request answers for the whole region or not at all.
            before = None if scope.instance_types else known.validators.get(url)
            (prices, dishonest), validator = http.file(url, read_offer_file, before)
        except NotModified:
            return Batch(covers=covers, url=url, validator=known.validators[url], unchanged=True)
    rows = [
        PriceRecord("aws", region, name, False, price, known.day, "aws-price-list")
        for name, price in prices.items()
        if scope.admits(name)
    ]
    types = scope.instance_types or None
    return Batch(
        rows,
        covers=(Cover(region, False, types),),
        dishonest=dishonest,
        url=None if types else url,
        validator=validator,
    )


def _spot(region: str, scope: Scope, known: Known, clients: Clients) -> Batch:
    """The present price in the cheapest zone of the region."""
    latest: dict[tuple[str, str], tuple[Any, int | None]] = {}
    for entry in clients.spot_history(region, scope, known):
        place = (entry["InstanceType"], entry["AvailabilityZone"])
        moment = entry["Timestamp"]
        if place not in latest or moment > latest[place][0]:
            latest[place] = (moment, nano_from_usd(entry["SpotPrice"]))
    cheapest: dict[str, int] = {}
    for (name, _), (_, price) in latest.items():
        if price is not None:
            cheapest[name] = min(price, cheapest.get(name, price))
    rows = [
        PriceRecord("aws", region, name, True, price, known.day, "aws-spot-price-history")
        for name, price in cheapest.items()
        if scope.admits(name)
    ]
    dishonest = sum(price is None for _, price in latest.values())
    return Batch(
        rows, covers=(Cover(region, True, scope.instance_types or None),), dishonest=dishonest
    )


def _types(region: str, scope: Scope, known: Known, clients: Clients) -> Batch:
    return Batch(
        types=[type_record(entry, known.day) for entry in clients.types(region, scope, known)]
    )


def _advisor(scope: Scope, http: Http) -> Batch:
    url = os.environ.get("MLBROKER_AWS_ADVISOR_URL", ADVISOR_URL)
    document = http.json(url)
    with expecting("not shaped as the Spot Advisor's data is", url):
        return Batch(
            rates=[
                Rate(region, name, _BANDS[int(facts["r"])])
                for region, systems in document["spot_advisor"].items()
                if not scope.regions or region in scope.regions
                for name, facts in systems["Linux"].items()
                if scope.admits(name)
            ]
        )
