"""The calls to AWS that need an account."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from importlib.util import find_spec
from typing import Any

from mlbroker.broker.extras import how_to_install
from mlbroker.broker.prices.feeds.aws.products import PLAIN
from mlbroker.broker.prices.feeds.interface import FeedError, Known, Scope

# The price list answers from a few regions only; all its prices are there.
PRICE_LIST_REGION = "us-east-1"
_EXPIRED = ("Expired", "InvalidClientTokenId", "UnrecognizedClient", "AuthFailure", "AccessDenied")
_CLOCK = ("TooSkewed", "Signature expired", "Signature not yet current", "RequestExpired")
_SESSION = threading.Lock()


def why_not() -> FeedError:
    """What has to be done before there are `Clients`."""
    if find_spec("boto3") is None:
        return FeedError("AWS's library is not installed", where="aws", hint=how_to_install("aws"))
    return FeedError("no AWS credentials", where="aws", hint="Sign in, for example: aws sso login.")


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
                named = new[start : start + 100]
                pages = client.get_paginator("describe_instance_types")
                for page in pages.paginate(InstanceTypes=named):
                    yield from page["InstanceTypes"]

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
