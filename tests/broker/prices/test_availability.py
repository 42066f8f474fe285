"""Quotas and shortages: fetched, kept, heeded, and forgotten in time."""

import json
import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.price_servers import PriceServers, serving
from tests.support.small_book import small_book

from mlbroker.broker.http import Http
from mlbroker.broker.prices import quotas, shortages
from mlbroker.broker.prices.availability import Availability, AvailableBook, load_availability
from mlbroker.broker.prices.feeds import quota_feeds
from mlbroker.broker.prices.feeds.interface import FeedError
from mlbroker.broker.prices.price_book import PriceBook, open_book
from mlbroker.broker.prices.quotas import Quota, Quotas
from mlbroker.broker.prices.shortages import Shortage
from mlbroker.policies.quote import Reason
from mlbroker.pricing.offer import InstanceType

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
REGIONS = {"us-east-1", "eu-west-1", "eastus", "us-central1", "europe-west1"}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PriceBook]:
    with small_book(tmp_path_factory.mktemp("data"), REGIONS):
        yield open_book(tmp_path_factory.mktemp("home"), today=NOW.date())


@pytest.fixture(scope="module")
def types(book: PriceBook) -> dict[str, InstanceType]:
    return {entry.name: entry for _, _, entry in book.types()}


@pytest.fixture(scope="module")
def all_servers(
    book: PriceBook, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PriceServers]:
    with serving(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def servers(all_servers: PriceServers, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceServers]:
    for name, value in all_servers.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "s")
    yield all_servers
    all_servers.faults.clear()


def why(
    limits: Availability, types: dict[str, InstanceType], region: str, name: str, *,
    spot: bool = False, nodes: int = 1,
) -> tuple[Reason, str] | None:  # fmt: skip
    return limits.refusal(types[name], region, spot, nodes)


def fetched(home: Path, cloud: str, region: str) -> Availability:
    quotas.save(home, cloud, quota_feeds()[cloud].quotas({region}, Http()), NOW)
    return load_availability(home, NOW)


def test_aws_counts_cpus_by_groups_of_families(
    tmp_path: Path, servers: PriceServers, types: dict[str, InstanceType]
) -> None:
    limits = fetched(tmp_path, "aws", "us-east-1")
    assert why(limits, types, "us-east-1", "m5.8xlarge") is None
    refused = why(limits, types, "us-east-1", "m5.8xlarge", nodes=2)
    assert refused is not None
    assert refused[0] is Reason.NO_QUOTA
    assert "64 vCPUs needed, 32 allowed" in refused[1]
    assert "2026-11-24" in refused[1]
    assert why(limits, types, "us-east-1", "p4d.24xlarge") is not None
    assert why(limits, types, "us-east-1", "g5.xlarge", spot=True) is None
    assert why(limits, types, "us-east-1", "g5.2xlarge", spot=True) is not None
    # What is not known does not forbid: no quota of on-demand G, none of another region.
    assert why(limits, types, "us-east-1", "g5.48xlarge") is None
    assert why(limits, types, "eu-west-1", "p4d.24xlarge") is None


def test_gcp_counts_families_of_their_own_the_rest_together_and_gpus(
    tmp_path: Path, servers: PriceServers, types: dict[str, InstanceType]
) -> None:
    limits = fetched(tmp_path, "gcp", "us-central1")
    assert why(limits, types, "us-central1", "n1-standard-16") is None
    assert why(limits, types, "us-central1", "n1-standard-32") is not None
    refused = why(limits, types, "us-central1", "a2-highgpu-1g")
    assert refused is not None
    assert "NVIDIA_A100_GPUS: 1 GPUs needed, 1 allowed, 1 in use" in refused[1]
    with_gpu = "n1-standard-8+nvidia-tesla-t4:1"
    assert why(limits, types, "us-central1", with_gpu) is None
    assert why(limits, types, "us-central1", with_gpu, spot=True) is not None
    assert why(limits, types, "us-central1", "n1-standard-64", spot=True) is None


def test_azure_counts_cores_of_a_family_of_the_region_and_of_spot(
    tmp_path: Path, servers: PriceServers, types: dict[str, InstanceType]
) -> None:
    limits = fetched(tmp_path, "azure", "eastus")
    assert why(limits, types, "eastus", "Standard_D4s_v5") is None
    family = why(limits, types, "eastus", "Standard_D4s_v5", nodes=2)
    assert family is not None
    assert "Standard DSv5 Family" in family[1]
    assert why(limits, types, "eastus", "Standard_D4s_v5", spot=True) is not None
    regional = why(limits, types, "eastus", "Standard_E16s_v5")
    assert regional is not None
    assert "Total Regional" in regional[1]


@pytest.mark.parametrize("cloud", sorted(quota_feeds()))
def test_without_credentials_it_says_what_is_missing(
    cloud: str, servers: PriceServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_CLOUD_PROJECT",
                 "AZURE_SUBSCRIPTION_ID"):  # fmt: skip
        monkeypatch.delenv(name)
    with pytest.raises(FeedError, match=r"credentials|login"):
        quota_feeds()[cloud].quotas(REGIONS, Http())


def test_a_cloud_that_is_refreshed_leaves_the_others_quotas(tmp_path: Path) -> None:
    one = Quota("aws", "r", False, "q", "vcpu", 4)
    two = Quota("gcp", "r", True, "CPUS", "vcpu", 8, 2.0, ("*",))
    quotas.save(tmp_path, "aws", [one], NOW)
    quotas.save(tmp_path, "gcp", [two], NOW)
    quotas.save(tmp_path, "aws", [one._replace(limit=5)], NOW)
    assert set(quotas.load(tmp_path).all) == {one._replace(limit=5), two}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"quotas": 3, "as_of": {}}', '{"quotas": {"a": [1]}}']
)
def test_a_damaged_cache_of_quotas_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / quotas.FILE).write_text(text)
    assert load_availability(tmp_path, NOW).empty


def shortage(zone: str | None = None, at: datetime = NOW, spot: bool = True) -> Shortage:
    return Shortage("aws", "us-east-1", zone, "g5.xlarge", spot, at, "InsufficientInstanceCapacity")


def test_a_shortage_is_remembered_for_its_market_and_forgotten(
    tmp_path: Path, types: dict[str, InstanceType]
) -> None:
    assert load_availability(tmp_path, NOW).empty
    shortages.remember(tmp_path, shortage())
    limits = load_availability(tmp_path, NOW + timedelta(minutes=5))
    refused = why(limits, types, "us-east-1", "g5.xlarge", spot=True)
    assert refused is not None
    assert refused[0] is Reason.NO_CAPACITY
    assert "12:00" in refused[1]
    assert why(limits, types, "us-east-1", "g5.xlarge") is None
    assert why(limits, types, "eu-west-1", "g5.xlarge", spot=True) is None
    assert load_availability(tmp_path, NOW + shortages.REMEMBERED + timedelta(seconds=1)).empty


def test_a_short_zone_is_avoided_and_the_region_only_when_several_are(
    tmp_path: Path, types: dict[str, InstanceType]
) -> None:
    for count, zone in enumerate(("a", "b", "c"), start=1):
        shortages.remember(tmp_path, shortage(f"us-east-1{zone}"))
        limits = load_availability(tmp_path, NOW)
        refused = why(limits, types, "us-east-1", "g5.xlarge", spot=True)
        assert (refused is not None) == (count == 3)
        for wanted in ("a", "b", "c", "d"):
            kind = types["g5.xlarge"]
            refused = limits.refusal(kind, "us-east-1", True, zone=f"us-east-1{wanted}")
            assert (refused is not None) == (wanted in "abc"[:count])


def test_many_launches_may_remember_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [
        fork.Process(target=shortages.remember, args=(tmp_path, shortage(f"zone-{n}")))
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert len(shortages.lately(tmp_path, NOW)) == 8


def test_the_book_within_limits_offers_the_next_region(
    book: PriceBook, types: dict[str, InstanceType]
) -> None:
    type_id = next(i for i, _, entry in book.types() if entry.name == "m5.large")
    cheapest = book.price_rows(depth=1, type_ids=[type_id])
    region = book.regions()[cheapest[0][2]].name
    none = Quota("aws", region, False, "Standard", "vcpu", 0, 0.0, ("m",))
    within = AvailableBook(book, Availability(Quotas([none], {}), ()))
    rows = within.price_rows(depth=1, type_ids=[type_id])
    assert [row[:2] for row in rows] == [row[:2] for row in cheapest]
    on_demand = next(row for row in rows if not row[1])
    assert book.regions()[on_demand[2]].name != region
    assert on_demand[3] >= cheapest[0][3]
    assert within.out_of_reach[type_id, 0][0] is Reason.NO_QUOTA
    assert all(row[2] != cheapest[0][2] for row in within.prices_of(type_id, 0))
    assert within.snapshot == book.snapshot  # all else is the book's own
    everything = within.price_rows(depth=None)
    assert all(
        not (row[2] == cheapest[0][2] and row[1] == 0 and row[0] == type_id) for row in everything
    )


def test_quotas_survive_the_way_through_json(tmp_path: Path) -> None:
    quota = Quota("aws", "r", True, "q", "gpu", 1.5, None, ("a", "b"), "T4")
    quotas.save(tmp_path, "aws", [quota], NOW)
    assert quotas.load(tmp_path).all == (quota,)
    assert json.loads((tmp_path / quotas.FILE).read_text())["as_of"]["aws"].startswith("2026-11-24")
