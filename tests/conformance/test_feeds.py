"""What every price feed promises. A new one joins with an entry in PLACES."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.price_servers import PLACES, PriceServers, serving
from tests.support.small_book import small_book

from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds import FEEDS
from mlbroker.broker.prices.feeds.interface import Batch, FetchPlan, Known, Scope, Task
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.prices.refresh import Report, refresh

NOW = datetime.now(UTC).replace(microsecond=0)


class Watched:
    """A feed whose batches are looked at on their way into the book."""

    def __init__(self, cloud: str) -> None:
        self.feed = FEEDS[cloud]()
        self.cloud = self.feed.cloud
        self.tasks: list[str] = []
        self.batches: list[Batch] = []

    def plan(self, scope: Scope, known: Known, http: Http) -> FetchPlan:
        plan = self.feed.plan(scope, known, http)
        self.tasks = [task.what for task in plan.tasks]
        return replace(plan, tasks=[Task(task.what, self._seen(task)) for task in plan.tasks])

    def _seen(self, task: Task):  # type: ignore[no-untyped-def]
        def fetch() -> Batch:
            batch = task.fetch()
            self.batches.append(batch)
            return batch

        return fetch


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    regions = {place.region for place in PLACES.values()}
    with small_book(tmp_path_factory.mktemp("data"), regions):
        home = tmp_path_factory.mktemp("seed")
        open_book(home).close()
        yield home


@pytest.fixture(scope="module")
def started(seed: Path) -> Iterator[PriceServers]:
    with serving(seed) as servers:
        yield servers


@pytest.fixture
def servers(started: PriceServers, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceServers]:
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)
    yield started
    started.faults.clear()


@pytest.fixture
def home(seed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seed, tmp_path / "home"))


@pytest.fixture(params=sorted(FEEDS))
def cloud(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fetch(home: Path, feed: Watched, *types: str) -> Report:
    scope = Scope(frozenset({PLACES[feed.cloud].region}), frozenset(types))
    return refresh(home, [feed], scope, NOW, http=Http(sleep=lambda _: None))


def test_every_feed_is_held_to_the_suite() -> None:
    assert set(FEEDS) <= set(PLACES)


def test_it_is_listed_under_its_cloud(cloud: str) -> None:
    assert FEEDS[cloud]().cloud == cloud


def test_prices_are_dated_sourced_and_only_what_was_asked_for(
    cloud: str, home: Path, servers: PriceServers
) -> None:
    feed, place = Watched(cloud), PLACES[cloud]
    assert not fetch(home, feed).failures
    assert feed.tasks
    assert all(feed.tasks), "each task says what it fetches"
    prices = [row for batch in feed.batches for row in batch.prices]
    covers = [cover for batch in feed.batches for cover in batch.covers]
    assert place.instance_type in {row.instance_type for row in prices}
    assert {row.cloud for row in prices} == {cloud}
    assert {row.region for row in prices} == {cover.region for cover in covers} == {place.region}
    assert {row.day for row in prices} == {NOW.date().toordinal()}
    assert all(row.source and row.price_nano_usd > 0 for row in prices)
    covered = {(cover.region, cover.spot) for cover in covers}
    assert {(row.region, row.spot) for row in prices} <= covered


def test_one_type_is_fetched_alone(cloud: str, home: Path, servers: PriceServers) -> None:
    feed, place = Watched(cloud), PLACES[cloud]
    before = open_book(home, today=NOW.date()).snapshot.offers
    (outcome,) = fetch(home, feed, place.instance_type).outcomes
    prices = [row for batch in feed.batches for row in batch.prices]
    assert {row.instance_type for row in prices} == {place.instance_type}
    assert outcome.withdrawn == 0
    assert open_book(home, today=NOW.date()).snapshot.offers >= before


def test_the_same_answers_make_the_same_book(cloud: str, home: Path, servers: PriceServers) -> None:
    fetch(home, Watched(cloud))
    first = open_book(home, today=NOW.date()).snapshot
    (outcome,) = fetch(home, Watched(cloud)).outcomes
    assert (outcome.withdrawn, outcome.jumped, outcome.dishonest) == (0, 0, 0)
    assert open_book(home, today=NOW.date()).snapshot == first


def test_a_vendor_out_of_order_is_one_line_and_changes_nothing(
    cloud: str, home: Path, servers: PriceServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # vendors' libraries wait on their own
    before = open_book(home, today=NOW.date()).snapshot
    servers.faults.add("", "500")
    failure = fetch(home, Watched(cloud)).failures[cloud]
    assert len(failure.what.splitlines()) == 1
    assert open_book(home, today=NOW.date()).snapshot == before
