"""AWS: on-demand prices from the price list, spot prices and hardware from EC2.

With credentials the price list is asked for just the machines (GetProducts). Without, the public
bulk file of each region is streamed, and spot prices stay as they were.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from mlbroker.broker.prices.feeds.aws_products import (
    PLAIN,
    BadProduct,
    read_offer_file,
    read_products,
)
from mlbroker.broker.prices.feeds.aws_types import type_row
from mlbroker.broker.prices.feeds.interface import Batch, Cover, Known, Plan, Rate, Scope, Task
from mlbroker.broker.prices.feeds.json_stream import BadStream
from mlbroker.broker.prices.http import FeedError, Http, NotModified
from mlbroker.broker.prices.nano import to_nano
from mlbroker.broker.prices.rows import PriceRow

BULK_URL = "https://pricing.us-east-1.amazonaws.com"
ADVISOR_URL = "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json"
# The price list answers from a few regions only; all its prices are there.
PRICE_LIST_REGION = "us-east-1"
_EXPIRED = ("Expired", "InvalidClientTokenId", "UnrecognizedClient", "AuthFailure", "AccessDenied")
_CLOCK = ("TooSkewed", "Signature expired", "Signature not yet current", "RequestExpired")
# Bands of the Spot Advisor -> the middle of each; the open one, above 20 %, counts as 25 %.
_BANDS = (0.025, 0.075, 0.125, 0.175, 0.25)
_SESSION = threading.Lock()


class AwsFeed:
    """Prices, spot prices, interruption rates and new machine types of AWS."""

    cloud = "aws"

    def plan(self, scope: Scope, known: Known, http: Http) -> Plan:
        """One task a region and kind of price."""
        clients = Clients.connect()
        regions = sorted(scope.regions or known.offered)
        # Spot prices are only told to accounts that have the region switched on.
        live = clients.regions() if clients else frozenset()
        tasks = [
            Task(
                f"{region} on-demand",
                _task(_on_demand, region, scope, known, http, clients),
            )
            for region in regions
        ]
        notes = []
        if clients:
            spot_regions = [region for region in regions if region in live]
            tasks += [
                Task(f"{region} spot", _task(_spot, region, scope, known, http, clients))
                for region in spot_regions
            ]
            tasks += [
                Task(f"{region} machine types", _task(_types, region, scope, known, http, clients))
                for region in spot_regions
            ]
            if without := sorted(set(regions) - live):
                notes.append(f"no spot prices of regions not switched on: {', '.join(without)}")
        else:
            notes.append(
                "no AWS credentials: spot prices stay as they were; on-demand prices come from the"
                " public bulk files"
            )
        tasks.append(Task("spot interruption rates", lambda: _advisor(scope, known, http)))
        return Plan(tasks, notes)


def _task(
    fetch: Callable[..., Batch],
    region: str,
    scope: Scope,
    known: Known,
    http: Http,
    clients: "Clients | None",
) -> Callable[[], Batch]:
    def run() -> Batch:
        try:
            return fetch(region, scope, known, http, clients)
        except (BadProduct, BadStream, KeyError, TypeError, AttributeError) as error:
            raise FeedError(f"{region}: not shaped as AWS's answers are: {error}") from None

    return run


def _on_demand(
    region: str, scope: Scope, known: Known, http: Http, clients: "Clients | None"
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
        PriceRow("aws", region, name, False, price, known.day, "aws-price-list")
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


def _spot(region: str, scope: Scope, known: Known, http: Http, clients: "Clients") -> Batch:
    """The present price in the cheapest zone of the region."""
    latest: dict[tuple[str, str], tuple[Any, int | None]] = {}
    for entry in clients.spot_history(region, scope, known):
        place = (entry["InstanceType"], entry["AvailabilityZone"])
        moment = entry["Timestamp"]
        if place not in latest or moment > latest[place][0]:
            latest[place] = (moment, to_nano(entry["SpotPrice"]))
    cheapest: dict[str, int] = {}
    for (name, _), (_, price) in latest.items():
        if price is not None:
            cheapest[name] = min(price, cheapest.get(name, price))
    rows = [
        PriceRow("aws", region, name, True, price, known.day, "aws-spot-price-history")
        for name, price in cheapest.items()
        if scope.admits(name)
    ]
    dishonest = sum(price is None for _, price in latest.values())
    return Batch(
        rows, covers=(Cover(region, True, scope.instance_types or None),), dishonest=dishonest
    )


def _types(region: str, scope: Scope, known: Known, http: Http, clients: "Clients") -> Batch:
    return Batch(
        types=[type_row(entry, known.day) for entry in clients.types(region, scope, known)]
    )


def _advisor(scope: Scope, known: Known, http: Http) -> Batch:
    url = os.environ.get("MLBROKER_AWS_ADVISOR_URL", ADVISOR_URL)
    try:
        document = http.json(url)
        rates = [
            Rate(region, name, _BANDS[int(facts["r"])])
            for region, systems in document["spot_advisor"].items()
            if not scope.regions or region in scope.regions
            for name, facts in systems["Linux"].items()
            if scope.admits(name)
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FeedError(f"not shaped as the Spot Advisor's data is: {error!r}", where=url) from None
    return Batch(rates=rates)


class Clients:
    """The calls to AWS that need an account; boto3 is loaded when they are made."""

    def __init__(self, session: Any, config: Any) -> None:
        self._session = session
        self._config = config

    @classmethod
    def connect(cls) -> "Clients | None":
        """None without boto3 or without credentials."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            return None
        try:
            session = boto3.Session()
            if session.get_credentials() is None:
                return None
        except BotoCoreError as error:
            raise FeedError(str(error), where="aws") from None
        config = Config(
            connect_timeout=10,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 6},
            max_pool_connections=32,
        )
        return cls(session, config)

    def _client(self, service: str, region: str) -> Any:
        # Sessions are not safe between threads, the clients made from them are.
        with _SESSION:
            return self._session.client(service, region_name=region, config=self._config)

    def regions(self) -> frozenset[str]:
        """The regions this account can use."""
        with _reasons("aws"):
            answer = self._client("ec2", PRICE_LIST_REGION).describe_regions()
            return frozenset(region["RegionName"] for region in answer["Regions"])

    def products(self, region: str, scope: Scope) -> Iterator[Any]:
        """The price list's documents of plain Linux machines."""
        equal = PLAIN | {"regionCode": region}
        chosen = [{"instanceType": name} for name in sorted(scope.instance_types)] or [{}]
        with _reasons(f"aws price list {region}"):
            client = self._client("pricing", PRICE_LIST_REGION)
            for more in chosen:
                filters = [
                    {"Type": "TERM_MATCH", "Field": field, "Value": value}
                    for field, value in (equal | more).items()
                ]
                pages = client.get_paginator("get_products").paginate(
                    ServiceCode="AmazonEC2", Filters=filters
                )
                for page in pages:
                    for text in page["PriceList"]:
                        yield json.loads(text)

    def spot_history(self, region: str, scope: Scope, known: Known) -> Iterator[Any]:
        """The last spot price of each type and zone."""
        named = {"InstanceTypes": sorted(scope.instance_types)} if scope.instance_types else {}
        with _reasons(f"aws spot prices {region}"):
            pages = self._client("ec2", region).get_paginator("describe_spot_price_history")
            for page in pages.paginate(
                ProductDescriptions=["Linux/UNIX"], StartTime=known.now.astimezone(UTC), **named
            ):
                yield from page["SpotPriceHistory"]

    def types(self, region: str, scope: Scope, known: Known) -> Iterator[Any]:
        """The machine types that a zone of the region offers and the book does not know."""
        with _reasons(f"aws machine types {region}"):
            client = self._client("ec2", region)
            offered = {
                offering["InstanceType"]
                for page in client.get_paginator("describe_instance_type_offerings").paginate(
                    LocationType="availability-zone"
                )
                for offering in page["InstanceTypeOfferings"]
            }
            new = sorted(name for name in offered - known.types.keys() if scope.admits(name))
            for start in range(0, len(new), 100):  # as many as one call takes
                answer = client.describe_instance_types(InstanceTypes=new[start : start + 100])
                yield from answer["InstanceTypes"]

    def quotas(self, region: str) -> Iterator[Any]:
        """EC2's quotas of the account in a region."""
        with _reasons(f"aws quotas {region}"):
            client = self._client("service-quotas", region)
            for page in client.get_paginator("list_service_quotas").paginate(ServiceCode="ec2"):
                yield from page["Quotas"]


@contextmanager
def _reasons(where: str) -> Iterator[None]:
    """Turn AWS's errors into one line that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        text = str(error.response.get("Error", {}).get("Message", ""))
        if any(mark in code or mark in text for mark in _CLOCK):
            raise FeedError(
                "the clock of this machine is wrong, or the credentials have expired",
                where=where,
                hint=f"AWS says {code}: set the clock, or sign in again.",
            ) from None
        if any(mark in code for mark in _EXPIRED):
            raise FeedError(
                f"the credentials are refused or expired ({code})",
                where=where,
                hint="Sign in again, then refresh again.",
            ) from None
        raise FeedError(f"answered {code}: {text}", where=where) from None
    except BotoCoreError as error:
        raise FeedError(str(error), where=where) from None
    except ValueError as error:
        raise FeedError(f"answered what is not JSON: {error}", where=where) from None
