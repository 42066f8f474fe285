"""Refreshing the book against the vendors' services on loopback: whole, or not at all."""

import multiprocessing
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S
from tests.support.price_servers import PriceServers, serving
from tests.support.small_book import small_book

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.http import Http
from mlbroker.broker.prices import browse, index_cache
from mlbroker.broker.prices.feeds import FEEDS
from mlbroker.broker.prices.feeds.interface import Scope
from mlbroker.broker.prices.own_prices import OwnPrices
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.prices.refresh import Report, refresh
from mlbroker.pricing.offer import Offer

NOW = datetime.now(UTC).replace(microsecond=0)
REGIONS = {"us-east-1", "eu-west-1", "eastus", "us-central1", "europe-west1"}


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the index of a small book, to be copied."""
    with small_book(tmp_path_factory.mktemp("data"), REGIONS):
        home = tmp_path_factory.mktemp("seed")
        open_book(home).close()
        yield home


@pytest.fixture
def home(seed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seed, tmp_path / "home"))


@pytest.fixture(scope="module")
def all_servers(seed: Path) -> Iterator[PriceServers]:
    with serving(seed) as started:
        yield started


@pytest.fixture
def servers(all_servers: PriceServers, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceServers]:
    for name, value in all_servers.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
    prices = dict(all_servers.prices.of)
    yield all_servers
    all_servers.prices.of = prices
    all_servers.prices_changed()
    all_servers.faults.clear()


def run(home: Path, cloud: str, *regions: str, now: datetime = NOW, **more: object) -> Report:
    scope = Scope(frozenset(regions), frozenset(more.pop("types", ())))  # type: ignore[arg-type]
    http = Http(sleep=lambda _: None)
    return refresh(home, [FEEDS[cloud]()], scope, now, http=http, **more)  # type: ignore[arg-type]


def place(home: Path, region: str, market: str) -> dict[str, Offer]:
    book = open_book(home, today=NOW.date())
    rows = {
        row.instance_type: row
        for row in browse.prices(book)
        if row.region == region and row.market == market
    }
    book.close()
    return rows


def test_aws_is_dated_today_and_keeps_to_plain_linux(home: Path, servers: PriceServers) -> None:
    before = place(home, "eu-west-1", "on_demand")
    report = run(home, "aws", "eu-west-1")
    assert not report.failures
    after = place(home, "eu-west-1", "on_demand")
    assert {n: r.price_per_hour_usd for n, r in after.items()} == {
        n: r.price_per_hour_usd for n, r in before.items()
    }
    assert {row.as_of for row in after.values()} == {NOW.date()}
    assert {row.source for row in after.values()} == {"aws-price-list"}
    untouched = place(home, "us-east-1", "on_demand")
    assert {row.source for row in untouched.values()} != {"aws-price-list"}


def test_aws_spot_is_the_cheapest_zones_latest_price(home: Path, servers: PriceServers) -> None:
    servers.set_price("aws", "us-east-1", "m5.large", True, "0.05")
    assert not run(home, "aws", "us-east-1").failures
    spot = place(home, "us-east-1", "spot")["m5.large"]
    assert spot.price_per_hour_usd == Decimal("0.05")
    assert spot.source == "aws-spot-price-history"


def test_new_machine_types_come_with_their_hardware(home: Path, servers: PriceServers) -> None:
    book = open_book(home)
    known = {entry.name for _, _, entry in book.types() if entry.cloud == "aws"}
    assert not run(home, "aws", "us-east-1").failures
    with OwnPrices(home / "prices") as own:
        new = {row.name: row for row in own._types()}
    assert not known & new.keys()
    after = {entry.name: entry for _, _, entry in open_book(home).types() if entry.cloud == "aws"}
    for name in new:
        assert after[name].hardware.vcpus > 0


def test_interruption_rates_are_taken_over(home: Path, servers: PriceServers) -> None:
    assert not run(home, "aws", "us-east-1").failures
    book = open_book(home)
    types = {entry.name: i for i, _, entry in book.types() if entry.cloud == "aws"}
    regions = {r.name: i for i, r in book.regions().items() if r.cloud == "aws"}
    assert book.offer(types["m5.large"], 1, regions["us-east-1"]).interruption_rate == 0.075
    assert book.offer(types["g5.xlarge"], 1, regions["us-east-1"]).interruption_rate == 0.25


def test_without_credentials_the_bulk_file_is_streamed_and_asked_for_once(
    home: Path, servers: PriceServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    spot = place(home, "eu-west-1", "spot")
    assert not run(home, "aws", "eu-west-1").failures
    assert {r.source for r in place(home, "eu-west-1", "on_demand").values()} == {"aws-price-list"}
    assert place(home, "eu-west-1", "spot") == spot
    # The second time the file has not changed: its prices are of that day without being read.
    later = NOW + timedelta(days=3)
    report = run(home, "aws", "eu-west-1", now=later)
    assert not report.failures
    assert report.outcomes[0].prices == 0
    dates = {row.as_of for row in place(home, "eu-west-1", "on_demand").values()}
    assert dates == {later.date()}


def test_one_type_only_leaves_the_rest_alone(home: Path, servers: PriceServers) -> None:
    before = place(home, "us-east-1", "on_demand")
    assert not run(home, "aws", "us-east-1", types=["m5.large"]).failures
    after = place(home, "us-east-1", "on_demand")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"m5.large"}
    assert before.keys() == after.keys()


def test_azure_reads_all_pages_and_only_plain_linux(home: Path, servers: PriceServers) -> None:
    before = {m: place(home, "eastus", m) for m in ("on_demand", "spot")}
    report = run(home, "azure", "eastus")
    assert not report.failures
    for market, rows in before.items():
        after = place(home, "eastus", market)
        assert {n: round(r.price_per_hour_usd, 6) for n, r in after.items()} == {
            n: round(r.price_per_hour_usd, 6) for n, r in rows.items()
        }
        assert {row.source for row in after.values()} == {"azure-retail-prices"}
    assert servers.faults.asked["/api/retail/prices"] > 3


def test_gcp_machines_are_the_sum_of_their_parts_where_they_are_offered(
    home: Path, servers: PriceServers
) -> None:
    report = run(home, "gcp")
    assert not report.failures
    iowa = place(home, "us-central1", "on_demand")
    assert iowa["n1-standard-4"].price_per_hour_usd == Decimal("0.189999")
    assert iowa["a2-highgpu-1g"].price_per_hour_usd == Decimal("3.673385")
    assert iowa["n1-standard-4+nvidia-tesla-t4:2"].price_per_hour_usd == Decimal("0.889999")
    assert iowa["n1-standard-5"].source == "gcp-billing-catalog"  # new, with hardware of its own
    spot = place(home, "us-central1", "spot")
    assert spot["n1-standard-4"].price_per_hour_usd < iowa["n1-standard-4"].price_per_hour_usd / 3
    belgium = place(home, "europe-west1", "on_demand")
    assert belgium["n1-standard-4"].source == "gcp-billing-catalog"
    assert not any("nvidia-tesla-t4" in name for name in belgium)  # no T4 there
    assert iowa["e2-standard-4"].source != "gcp-billing-catalog"  # its parts were not listed


def test_a_type_no_longer_sold_leaves_the_book_and_may_come_back(
    home: Path, servers: PriceServers
) -> None:
    price = servers.set_price("azure", "eastus", "Standard_D4s_v5", False, None)
    assert price is not None
    assert run(home, "azure", "eastus").outcomes[0].withdrawn == 1
    assert "Standard_D4s_v5" not in place(home, "eastus", "on_demand")
    servers.set_price("azure", "eastus", "Standard_D4s_v5", False, price)
    assert not run(home, "azure", "eastus").failures
    assert "Standard_D4s_v5" in place(home, "eastus", "on_demand")


def test_history_keeps_what_a_type_cost_before(home: Path, servers: PriceServers) -> None:
    key = ("aws", "us-east-1", "m5.large", False)
    for days, price in ((0, "0.096"), (1, "0.096"), (2, "0.1")):
        servers.set_price(*key, price)
        moment = NOW + timedelta(days=days)
        assert not run(home, "aws", "us-east-1", types=["m5.large"], now=moment).failures
    with OwnPrices(home / "prices") as own:
        past = [p.price_nano_usd for p in own.past("m5.large") if not p.spot]
    assert past == [100_000_000, 96_000_000]


def test_a_price_that_jumps_is_kept_out_until_it_is_accepted(
    home: Path, servers: PriceServers
) -> None:
    before = place(home, "us-east-1", "on_demand")["m5.large"]
    servers.set_price("aws", "us-east-1", "m5.large", False, "0.0001")
    report = run(home, "aws", "us-east-1", types=["m5.large"])
    assert report.outcomes[0].jumped == 1
    assert place(home, "us-east-1", "on_demand")["m5.large"] == before
    with OwnPrices(home / "prices") as own:
        (jump,) = own.jumps()
    assert (jump.instance_type, jump.price_nano_usd) == ("m5.large", 100_000)
    servers.set_price("aws", "us-east-1", "m5.large", False, "0.8")
    assert not run(home, "aws", "us-east-1", types=["m5.large"], accept=True).failures
    taken = place(home, "us-east-1", "on_demand")["m5.large"]
    assert taken.price_per_hour_usd == Decimal("0.8")
    with OwnPrices(home / "prices") as own:
        assert own.jumps() == []


@pytest.mark.parametrize("price", ["0.0000000000", "-1", "NaN", "", "none"])
def test_a_dishonest_price_of_a_vendor_is_counted_and_never_offered(
    home: Path, servers: PriceServers, price: str
) -> None:
    servers.set_price("aws", "us-east-1", "m5.large", False, price)
    report = run(home, "aws", "us-east-1")
    assert report.outcomes[0].dishonest == 1
    assert "m5.large" not in place(home, "us-east-1", "on_demand")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "HTTP 500"),
        ("429", "HTTP 429"),
        ("403", "refused the credentials"),
        ("cut", "cut off"),
        ("empty", "not JSON"),
        ("garbage", "not JSON"),
        ("list", "not an object"),
        ("deep", "not JSON"),
        ("no rows", "cut short"),
        ("redirect", "another host"),
        ("skew", "clock"),
        ("bomb", "too large"),
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_the_book_untouched(
    home: Path, servers: PriceServers, fault: str, reason: str
) -> None:
    before = open_book(home, today=NOW.date()).snapshot
    files = sorted(path.name for path in (home / "prices").glob("book-*"))
    servers.faults.add("/api/retail/prices", fault)
    report = run(home, "azure", "eastus")
    assert reason in str(report.failures["azure"])
    assert len(report.failures["azure"].what.splitlines()) == 1
    assert open_book(home, today=NOW.date()).snapshot == before
    assert sorted(path.name for path in (home / "prices").glob("book-*")) == files


@pytest.mark.parametrize(
    ("where", "fault", "cloud"),
    [
        ("/skus", "no rows", "gcp"),
        ("/skus", "garbage", "gcp"),
        ("/aggregated/machineTypes", "cut", "gcp"),
        ("/aggregated/machineTypes", "list", "gcp"),
        ("GetProducts", "UnrecognizedClientException", "aws"),
        ("DescribeSpotPriceHistory", "RequestExpired", "aws"),
        ("DescribeRegions", "AuthFailure", "aws"),
        ("DescribeInstanceTypeOfferings", "Throttling", "aws"),
        ("/spot-advisor-data.json", "list", "aws"),
    ],
)
def test_other_vendors_failures_leave_the_book_untouched(
    home: Path, servers: PriceServers, where: str, fault: str, cloud: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(time, "sleep", lambda _: None)  # boto3's own retries would wait
    before = open_book(home, today=NOW.date()).snapshot
    servers.faults.add(where, fault)
    report = run(home, cloud, *(["us-east-1"] if cloud == "aws" else []))
    assert cloud in report.failures
    assert open_book(home, today=NOW.date()).snapshot == before


def test_a_short_outage_is_ridden_out(home: Path, servers: PriceServers) -> None:
    servers.faults.add("/api/retail/prices", "500", times=2)
    servers.faults.add("/api/retail/prices", "cut", times=1)
    assert not run(home, "azure", "eastus").failures


def test_waits_grow_and_heed_the_vendor(servers: PriceServers) -> None:
    waits: list[float] = []
    servers.faults.add("/spot-advisor", "cut")
    with pytest.raises(MlbrokerError):
        Http(waits.append, lambda: 1.0).json(servers.environment["MLBROKER_AWS_ADVISOR_URL"])
    assert waits == sorted(waits)
    assert len(waits) == 4
    assert waits[-1] >= 4 * waits[0]


def test_what_was_fetched_can_be_forgotten(home: Path, servers: PriceServers) -> None:
    before = open_book(home, today=NOW.date()).snapshot
    servers.set_price("azure", "eastus", "Standard_D4s_v5", False, None)
    assert not run(home, "azure", "eastus").failures
    assert open_book(home, today=NOW.date()).snapshot != before
    index_cache.forget(home, imported=False, fetched=True, now=NOW)
    assert open_book(home, today=NOW.date()).snapshot == before


def test_one_cloud_that_fails_does_not_stop_another(home: Path, servers: PriceServers) -> None:
    servers.faults.add("/skus", "500")
    scope = Scope(frozenset({"eastus"}))
    feeds = [FEEDS["gcp"](), FEEDS["azure"]()]
    report = refresh(home, feeds, scope, NOW, http=Http(sleep=lambda _: None))
    assert set(report.failures) == {"gcp"}
    assert [outcome.cloud for outcome in report.outcomes] == ["azure"]


def test_a_second_refresh_at_once_is_told_so(home: Path, servers: PriceServers) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Http):
        def json(self, *arguments: object, **more: object) -> dict[str, object]:
            inside.set()
            assert go_on.wait(30)
            return super().json(*arguments, **more)  # type: ignore[arg-type]

    first = threading.Thread(
        target=refresh, args=(home, [FEEDS["azure"]()], Scope(frozenset({"eastus"})), NOW),
        kwargs={"http": Slow()},
    )  # fmt: skip
    first.start()
    try:
        assert inside.wait(30)
        # A plan during the refresh reads the old book and does not wait.
        assert open_book(home, today=NOW.date()).snapshot.offers > 1_000
        with pytest.raises(MlbrokerError, match="another refresh"):
            run(home, "azure", "eastus")
    finally:
        go_on.set()
        first.join(60)


def _read_on(home: Path, stop: Path, found: "multiprocessing.Queue[object]") -> None:
    """Open the book again and again; reports the snapshots seen, or what was wrong."""
    seen = set()
    try:
        while not stop.exists():
            book = open_book(home)
            snapshot = book.snapshot
            rows = book.connection.execute("SELECT count(*) FROM offer").fetchone()[0]
            assert rows == snapshot.offers
            book.close()
            seen.add(snapshot.id)
        found.put(seen)
    except BaseException as error:
        found.put(repr(error))
        raise


def test_books_opened_during_refreshes_are_always_whole(
    home: Path, servers: PriceServers, capfd: pytest.CaptureFixture[str]
) -> None:
    fork = multiprocessing.get_context("fork")  # the child sees the small book too
    found = fork.Queue()
    stop = home / "stop"
    reader = fork.Process(target=_read_on, args=(home, stop, found))
    reader.start()
    ids = {open_book(home).snapshot.id}
    try:
        for days in range(4):
            moment = NOW + timedelta(days=days)
            assert not run(home, "azure", "eastus", now=moment).failures
            ids.add(open_book(home).snapshot.id)
    finally:
        stop.touch()
    seen = found.get(timeout=PATIENCE_S)
    reader.join(PATIENCE_S)
    assert isinstance(seen, set), seen
    assert seen <= ids
    assert len(ids) == 5
    assert "Building" not in capfd.readouterr().err  # nobody but the refresh ever builds


def test_imports_stay_over_what_is_fetched(
    home: Path, servers: PriceServers, tmp_path: Path
) -> None:
    from mlbroker.broker.prices.index_cache import import_file

    file = tmp_path / "mine.csv"
    file.write_text(
        "cloud,region,instance_type,market,price_per_hour_usd,as_of,source\n"
        "azure,eastus,Standard_D4s_v5,on_demand,0.15,2026-01-01,contract\n"
    )
    assert import_file(home, file, NOW) == (1, [])
    assert not run(home, "azure", "eastus").failures
    row = place(home, "eastus", "on_demand")["Standard_D4s_v5"]
    assert (row.price_per_hour_usd, row.source) == (Decimal("0.15"), "contract")
    assert row.as_of == date(2026, 1, 1)
