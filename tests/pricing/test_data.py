"""The embedded price book: published prices, composed machines, dates and sources."""

import hashlib
import json
from collections import Counter
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from mlbroker.broker.prices import browse, embedded
from mlbroker.broker.prices.price_book import PriceBook, open_book
from mlbroker.pricing.offer import InstanceType, Offer

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    return open_book(tmp_path_factory.mktemp("home"), today=TODAY)


@pytest.fixture(scope="module")
def types(book: PriceBook) -> dict[tuple[str, str], InstanceType]:
    return {(entry.cloud, entry.name): entry for _, _, entry in book.types()}


@cache
def prices(book: PriceBook, name: str) -> dict[tuple[str, str], Offer]:
    return {(row.region, row.market): row for row in browse.prices(book, name)}


@pytest.mark.parametrize(
    ("region", "name", "price"),
    [
        ("us-east-1", "p3.2xlarge", "3.06"),
        ("us-east-1", "g5.xlarge", "1.006"),
        ("us-east-1", "g4dn.xlarge", "0.526"),
        ("us-east-1", "m5.large", "0.096"),
        ("us-east-1", "p4d.24xlarge", "21.957642"),
        ("us-east-1", "p5.48xlarge", "55.04"),
        ("us-central1", "a2-highgpu-1g", "3.673385"),
        ("us-central1", "g2-standard-4", "0.7068"),
        ("us-central1", "n1-standard-4", "0.19"),
        ("eastus", "Standard_NC6s_v3", "3.06"),
        ("eastus", "Standard_NC24ads_A100_v4", "3.673"),
        ("eastus", "Standard_D4s_v5", "0.192"),
    ],
)
def test_published_on_demand_prices(book: PriceBook, region: str, name: str, price: str) -> None:
    rounded = round(prices(book, name)[region, "on_demand"].price_per_hour_usd, 4)
    assert rounded == round(Decimal(price), 4)


def test_an_absent_spot_price_is_absent_and_not_zero(book: PriceBook) -> None:
    found = prices(book, "p5.48xlarge")
    assert ("us-east-1", "on_demand") in found
    assert ("us-east-1", "spot") not in found


def test_every_offer_has_a_positive_price_a_source_and_a_plausible_date(book: PriceBook) -> None:
    count = 0
    for row in browse.prices(book):
        count += 1
        assert row.price_per_hour_usd > 0
        assert row.source
        assert date(2024, 1, 1) <= row.as_of <= TODAY
    assert count == book.snapshot.offers > 140_000


def test_old_prices_are_stale_and_recent_ones_are_not(book: PriceBook) -> None:
    parts = browse.parts(book)
    assert {part.stale for part in parts} == {True, False}
    for part in parts:
        assert part.stale == ((TODAY - part.as_of).days > 180), part


def test_what_is_stale_depends_on_the_day_of_use(tmp_path: Path) -> None:
    later = open_book(tmp_path, today=date(2028, 1, 1)).snapshot
    assert later.stale_offers == later.offers


def test_attachable_gpus_are_machines_with_the_sum_of_both_prices(
    book: PriceBook, types: dict[tuple[str, str], InstanceType]
) -> None:
    machine = prices(book, "n1-standard-4")["us-central1", "on_demand"]
    with_gpu = prices(book, "n1-standard-4+nvidia-tesla-t4:1")["us-central1", "on_demand"]
    with_two = prices(book, "n1-standard-4+nvidia-tesla-t4:2")["us-central1", "on_demand"]
    one = with_gpu.price_per_hour_usd - machine.price_per_hour_usd
    assert one == Decimal("0.35")
    assert with_two.price_per_hour_usd == machine.price_per_hour_usd + 2 * one
    assert with_gpu.as_of <= machine.as_of
    assert machine.source in with_gpu.source
    assert with_gpu.source != machine.source
    hardware = types["gcp", "n1-standard-4+nvidia-tesla-t4:2"].hardware
    assert (hardware.vcpus, hardware.memory_gib, hardware.gpu_count) == (4, 15, 2)
    assert hardware.gpu is not None
    assert hardware.gpu.model == "T4"


def test_only_legal_numbers_of_attached_gpus_are_sold(
    types: dict[tuple[str, str], InstanceType],
) -> None:
    names = {name for cloud, name in types if cloud == "gcp" and "+" in name}
    assert "n1-standard-8+nvidia-tesla-v100:1" in names
    assert "n1-standard-16+nvidia-tesla-v100:1" not in names  # one V100 takes up to 12 vCPUs
    assert "n1-standard-16+nvidia-tesla-v100:2" in names
    assert "n1-standard-64+nvidia-tesla-p4:1" not in names
    assert not [name for name in names if name.endswith(":3")]
    assert {name.split("+")[0].split("-")[0] for name in names} == {"n1"}
    assert {name.split("+")[1].split(":")[0] for name in names} == {
        "nvidia-tesla-t4", "nvidia-tesla-p4", "nvidia-tesla-v100", "nvidia-tesla-p100",
    }  # fmt: skip


def test_a_share_of_a_gpu_has_its_share_of_the_memory(
    types: dict[tuple[str, str], InstanceType],
) -> None:
    assert types["aws", "g6f.2xlarge"].hardware.gpu_memory_gib == pytest.approx(6, abs=0.1)
    assert types["azure", "Standard_NV6ads_A10_v5"].hardware.gpu_memory_gib == pytest.approx(
        4, abs=0.1
    )


def test_retired_types_are_marked_and_keep_their_prices(
    book: PriceBook, types: dict[tuple[str, str], InstanceType]
) -> None:
    retired = {key for key, entry in types.items() if entry.retired}
    assert ("azure", "Standard_NC6s_v3") in retired  # retired 2025-09-30
    assert ("azure", "Standard_NV12s_v3") in retired  # to be retired 2026-09-30, which is past
    assert ("aws", "p3.2xlarge") in retired  # the vendor no longer describes it
    assert ("aws", "g5.xlarge") not in retired  # a previous generation is still on sale
    assert len(retired) < len(types) / 10
    assert prices(book, "Standard_NC6s_v3")


def test_a_retirement_still_to_come_does_not_count_yet(tmp_path: Path) -> None:
    early = open_book(tmp_path, today=date(2026, 9, 1))
    found = {entry.name: entry.retired for _, _, entry in early.types()}
    assert not found["Standard_NV12s_v3"]
    assert found["Standard_NC6s_v3"]


def test_equal_hardware_is_one_object(book: PriceBook) -> None:
    entries = book.types()
    by_id = {hardware_id: entry.hardware for _, hardware_id, entry in entries}
    assert all(entry.hardware is by_id[hardware_id] for _, hardware_id, entry in entries)
    assert len(set(by_id.values())) == len(by_id) < len(entries)


def test_regions_of_all_clouds_with_their_facts(book: PriceBook) -> None:
    regions = {(r.cloud, r.name): r for r in book.regions().values()}
    assert Counter(cloud for cloud, _ in regions) == {"aws": 36, "gcp": 43, "azure": 57}
    virginia = regions["aws", "us-east-1"]
    assert virginia.disk_usd_per_gb_month == Decimal("0.08")
    assert virginia.public_ip_usd_per_hour == Decimal("0.005")
    assert virginia.egress_internet_usd_per_gb == Decimal("0.09")
    assert virginia.egress_same_cloud_usd_per_gb == Decimal("0.02")
    iowa = regions["gcp", "us-central1"]
    assert iowa.egress_internet_usd_per_gb == Decimal("0.12")  # premium tier, GCP's default
    # Over Azure's own network, its default.
    assert regions["azure", "eastus"].egress_internet_usd_per_gb == Decimal("0.087")
    assert regions["gcp", "europe-west9"].grid_kgco2e_per_kwh == pytest.approx(0.0163)
    for region in regions.values():
        assert region.pue is not None
        assert 1 < region.pue < 2
        assert region.grid_source
        assert region.grid_kgco2e_per_kwh is not None
        assert 0 < region.grid_kgco2e_per_kwh < 1.1


def test_cpu_power_has_a_default_and_rises_with_load(book: PriceBook) -> None:
    power = book.cpu_power()
    assert "__default__" in power
    assert all(0 < idle < full for idle, full in power.values())


def test_spot_interruption_is_known_on_aws_only(book: PriceBook) -> None:
    clouds = {entry_id: entry.cloud for entry_id, _, entry in book.types()}
    known: Counter[tuple[str, int]] = Counter()
    for type_id, spot, _, _, rate, _ in book.price_rows(depth=None):
        if rate is not None:
            known[clouds[type_id], spot] += 1
            assert 0 < rate <= 0.25
    assert set(known) == {("aws", 1)}
    assert known["aws", 1] > 8_000


def test_no_embedded_price_is_odd(book: PriceBook) -> None:
    assert browse.odd_prices(book) == []


def test_the_data_is_small_and_is_what_its_description_says() -> None:
    packed = (embedded.FOLDER / embedded.DATA).read_bytes()
    facts = json.loads((embedded.FOLDER / embedded.DESCRIPTION).read_text())
    assert len(packed) < 1_000_000
    assert hashlib.sha256(packed).hexdigest() == facts["sha256"]


def test_every_source_is_named_in_the_notice() -> None:
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    facts = json.loads((embedded.FOLDER / embedded.DESCRIPTION).read_text())
    bases = {part.split(":")[0].split("*")[0] for s in facts["sources"] for part in s.split("+")}
    changes = {"constrained-fix", "memory-fix"}
    suffixes_of = {"k8s-autoscaler-azure": "k8s-autoscaler-aws, -azure"}
    variants = ("-stale", "-min7d")
    for base in bases - changes:
        for variant in variants:
            base = base.removesuffix(variant)
        assert suffixes_of.get(base, base) in notice, base


@pytest.mark.parametrize(
    ("cloud", "name", "cpu", "core_speed", "threads_per_core", "sockets"),
    [
        # AWS calls them Skylake or Cascade Lake; what was found is Cascade Lake.
        ("aws", "m5.xlarge", "Cascade Lake", 0.8, 2, 1),
        ("aws", "m5.metal", "Cascade Lake", 0.8, 2, 2),
        ("aws", "c7g.4xlarge", "Graviton3", 0.86, 1, 1),
        ("aws", "m7a.4xlarge", "EPYC 4th Gen", 1.11, 1, 1),
        ("azure", "Standard_D4s_v5", "Ice Lake", 1.0, 2, 1),
        # Of a machine with attached GPUs, what the machine is.
        ("gcp", "n1-standard-4+nvidia-tesla-t4:1", "Haswell", 0.65, 2, 1),
    ],
)
def test_what_was_measured_of_a_machine_is_in_the_book(
    types: dict[tuple[str, str], InstanceType],
    cloud: str,
    name: str,
    cpu: str,
    core_speed: float,
    threads_per_core: int,
    sockets: int,
) -> None:
    found = types[cloud, name].hardware
    assert found.cpu == cpu
    assert found.core_speed == core_speed
    assert (found.threads_per_core, found.sockets) == (threads_per_core, sockets)


def test_nearly_every_type_has_a_measured_processor(
    types: dict[tuple[str, str], InstanceType],
) -> None:
    found = [kind.hardware for kind in types.values()]
    unknown = sum(h.core_speed is None or h.threads_per_core is None for h in found)
    assert unknown < 0.01 * len(found)
    # Of those that start without credits it is the share that they keep.
    sustained = [h.core_speed for h in found if h.core_speed is not None and not h.burstable]
    assert all(0.3 < speed < 2 for speed in sustained)
