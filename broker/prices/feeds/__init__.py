"""Live prices from the vendors. Adding a feed: one file or folder, one entry here.

Each entry makes the feed; its module is imported only then: a plan reads prices and loads none.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlbroker.broker.prices.feeds.interface import Feed, QuotaFeed


def _of(module: str, name: str) -> Callable[[], "Feed"]:
    return lambda: getattr(import_module(f"{__name__}.{module}"), name)()


FEEDS: dict[str, Callable[[], "Feed"]] = {
    "aws": _of("aws.feed", "AwsFeed"),
    "azure": _of("azure.feed", "AzureFeed"),
    "gcp": _of("gcp.feed", "GcpFeed"),
}


def quota_feeds() -> dict[str, "QuotaFeed"]:
    """Those that also tell the account's quotas."""
    from mlbroker.broker.prices.feeds.interface import QuotaFeed

    feeds = {cloud: make() for cloud, make in FEEDS.items()}
    return {cloud: feed for cloud, feed in feeds.items() if isinstance(feed, QuotaFeed)}
