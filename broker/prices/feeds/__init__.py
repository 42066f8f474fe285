"""Live prices from the vendors. Adding a feed: one file or folder, one entry here.

Each entry makes the feed; its module is imported only then: a plan reads prices and loads none.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlbroker.broker.prices.feeds.interface import Feed, QuotaFeed


def _aws() -> "Feed":
    from mlbroker.broker.prices.feeds.aws.feed import AwsFeed

    return AwsFeed()


def _azure() -> "Feed":
    from mlbroker.broker.prices.feeds.azure.feed import AzureFeed

    return AzureFeed()


def _gcp() -> "Feed":
    from mlbroker.broker.prices.feeds.gcp.feed import GcpFeed

    return GcpFeed()


FEEDS: dict[str, Callable[[], "Feed"]] = {
    "aws": _aws,
    "azure": _azure,
    "gcp": _gcp,
}


def quota_feeds() -> dict[str, "QuotaFeed"]:
    """Those that also tell the account's quotas."""
    from mlbroker.broker.prices.feeds.interface import QuotaFeed

    feeds = {cloud: make() for cloud, make in FEEDS.items()}
    return {cloud: feed for cloud, feed in feeds.items() if isinstance(feed, QuotaFeed)}
