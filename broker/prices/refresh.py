"""Refreshing the book from the vendors: fetch in parallel, judge, swap at once or not at all."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.home import private_folder
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.interface import Batch, Feed, FetchPlan, Known, Scope
from mlbroker.broker.prices.index_cache import index_path, publish_generation
from mlbroker.broker.prices.own_prices import OwnPrices
from mlbroker.broker.prices.price_book import PriceBook
from mlbroker.broker.prices.staged_refresh import Outcome, StagedRefresh

WORKERS = 16


class Progress:
    """Told of each cloud's tasks as they start and end; does nothing by itself."""

    def start(self, cloud: str, plan: FetchPlan) -> None:
        """A cloud's tasks are known."""

    def done(self, cloud: str, what: str) -> None:
        """One task has ended well."""

    def building(self, cloud: str) -> None:
        """All answers are in; the local index is made."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a refresh: the clouds that were swapped in, and why others were not."""

    outcomes: Sequence[Outcome]
    failures: Mapping[str, MlbrokerError]


def refresh(
    home: Path,
    feeds: Sequence[Feed],
    scope: Scope,
    now: datetime,
    *,
    progress: Progress | None = None,
    http: Http | None = None,
    accept: bool = False,
) -> Report:
    """Refresh each feed's cloud; one that fails keeps its prices exactly as they were."""
    progress, http = progress or Progress(), http or Http()
    folder = home / "prices"
    outcomes: list[Outcome] = []
    failures: dict[str, MlbrokerError] = {}
    index = index_path(home)
    with _alone(folder), OwnPrices(folder) as own:
        for feed in feeds:
            try:
                staged = StagedRefresh(own, feed.cloud)
                plan = feed.plan(scope, _known(index, feed.cloud, own, now), http)
                progress.start(feed.cloud, plan)
                _run(feed.cloud, plan, staged.add, progress)
                progress.building(feed.cloud)
                with own.change() as generation:
                    outcome = staged.keep(index, now, _words(scope), accept)
                    index = publish_generation(home, own, generation, now.date())
                outcomes.append(outcome)
            except MlbrokerError as error:
                failures[feed.cloud] = error
    return Report(outcomes, failures)


def _run(cloud: str, plan: FetchPlan, keep: Callable[[Batch], None], progress: Progress) -> None:
    """All tasks at once; the first that fails stops those that have not begun."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix=f"prices-{cloud}") as pool:
        running = {pool.submit(task.fetch): task.what for task in plan.tasks}
        try:
            for future in as_completed(running):
                keep(future.result())
                progress.done(cloud, running[future])
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _known(index: Path, cloud: str, own: OwnPrices, now: datetime) -> Known:
    book = PriceBook(index, now.date())
    try:
        types = {i: entry for i, _, entry in book.types() if entry.cloud == cloud}
        names = {i: region.name for i, region in book.regions().items() if region.cloud == cloud}
        offered: dict[str, set[str]] = {name: set() for name in names.values()}
        for type_id, region_id in book.connection.execute("SELECT type_id, region_id FROM offer"):
            if type_id in types:
                offered[names[region_id]].add(types[type_id].name)
        return Known(
            now,
            {entry.name: entry for entry in types.values()},
            {region: frozenset(held) for region, held in offered.items()},
            own.validators(),
        )
    finally:
        book.close()


def _words(scope: Scope) -> str:
    return ", ".join([*sorted(scope.regions), *sorted(scope.instance_types)]) or "everything"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One refresh at a time; a second one is told, and does not wait."""
    private_folder(str(folder))
    with (folder / "refresh.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MlbrokerError(
                "another refresh of the price book is running",
                hint="Plans go on with the old book until it is done.",
            ) from None
        yield
