"""Reading a vendor's answers: page by page to the end, and in no shape but the one it promised."""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from mlbroker.broker.prices.feeds.interface import FeedError

T = TypeVar("T")
MOST_PAGES = 2_000
_WORKERS = 8


@contextmanager
def expecting(what: str, where: str) -> Iterator[None]:
    """Whoever reads an answer of another shape meets one line, "`what`", and no traceback."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FeedError(f"{what}: {error!r}", where=where) from None


def by_region(fetch: Callable[[str], list[T]], regions: Collection[str]) -> list[T]:
    """What `fetch` gives for each region, several at a time."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        return [item for found in pool.map(fetch, sorted(regions)) for item in found]


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
