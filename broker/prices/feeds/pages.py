"""Following a vendor's pages to the end, and not a step further."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlbroker.broker.prices.http import FeedError

MOST_PAGES = 2_000


def follow(
    first: str,
    fetch: Callable[[str], Mapping[str, Any]],
    next_of: Callable[[Mapping[str, Any]], str | None],
    where: str,
) -> Iterator[Mapping[str, Any]]:
    """Every page from `first` on. Pages that lead back to themselves are an error, not a loop."""
    seen = {first}
    address: str | None = first
    while address:
        page = fetch(address)
        yield page
        address = next_of(page)
        if address in seen:
            raise FeedError("its pages lead in a circle", where=where)
        if address:
            seen.add(address)
        if len(seen) > MOST_PAGES:
            raise FeedError(f"more than {MOST_PAGES} pages", where=where)
