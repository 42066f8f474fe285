"""The price book: what ships with the package, what was fetched, and what the user knows."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlbroker.broker.prices.feeds.interface import Feed


def _aws() -> "Feed":
    from mlbroker.broker.prices.feeds.aws import AwsFeed

    return AwsFeed()


def _azure() -> "Feed":
    from mlbroker.broker.prices.feeds.azure import AzureFeed

    return AzureFeed()


def _gcp() -> "Feed":
    from mlbroker.broker.prices.feeds.gcp import GcpFeed

    return GcpFeed()


# Cloud -> its feed, loaded when it is asked for: a plan reads prices and loads none of them.
FEEDS: Mapping[str, Callable[[], "Feed"]] = {"aws": _aws, "azure": _azure, "gcp": _gcp}
