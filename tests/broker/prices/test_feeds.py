"""What each feed makes of a vendor's answer, in small; sizes and speed at true scale."""

import io
import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.price_servers import (
    AZURE_SKUS,
    Prices,
    azure_item,
    gcp_skus,
    gcp_zones,
    offer_file,
    product,
    serving,
)
from tests.support.small_book import small_book

from mlbroker.broker.prices.feeds import FEEDS
from mlbroker.broker.prices.feeds.answers import expecting, follow
from mlbroker.broker.prices.feeds.aws.json_stream import BadStream, entries
from mlbroker.broker.prices.feeds.aws.products import read_offer_file, read_products, type_record
from mlbroker.broker.prices.feeds.azure.feed import plain_size, type_records
from mlbroker.broker.prices.feeds.interface import FeedError, Scope
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.prices.refresh import refresh

REGION = "eu-west-1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), JSON, max_size=5), st.booleans(), st.dictionaries(st.text(), JSON)
)
def test_the_stream_gives_what_the_whole_document_holds(
    products: dict[str, Any], spaced: bool, other: dict[str, Any]
) -> None:
    document = {"other": other, "products": products, "terms": {"x": other, "OnDemand": products}}
    text = json.dumps(document, indent=2 if spaced else None, ensure_ascii=not spaced)
    found: dict[tuple[str, ...], dict[str, Any]] = {("products",): {}, ("terms", "OnDemand"): {}}
    for path, key, value in entries(io.BytesIO(text.encode("utf-8", "surrogatepass")), found):
        found[path][key] = value
    assert found == {("products",): products, ("terms", "OnDemand"): products}


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_a_stream_cut_anywhere_is_an_error(position: int) -> None:
    whole = offer_file([product("m5.large", REGION, "0.1")])
    with pytest.raises(BadStream):
        list(entries(io.BytesIO(whole[: position % (len(whole) - 1)]), [("products",)]))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_an_error(content: bytes) -> None:
    try:
        list(entries(io.BytesIO(content), [("products",)]))
    except BadStream:
        return
    assert isinstance(json.loads(content), dict)


def test_only_plain_linux_machines_are_taken() -> None:
    odd = [
        {"operatingSystem": "Windows"}, {"tenancy": "Dedicated"}, {"preInstalledSw": "SQL Web"},
        {"capacitystatus": "UnusedCapacityReservation"}, {"operation": "RunInstances:0004"},
        {"marketoption": "CapacityBlock"},
    ]  # fmt: skip
    documents = [product("m5.large", REGION, "0.107")]
    documents += [product(f"t{n}.large", REGION, "9", **change) for n, change in enumerate(odd)]
    assert read_products(documents) == ({"m5.large": 107_000_000}, 0)
    assert read_offer_file(io.BytesIO(offer_file(documents))) == ({"m5.large": 107_000_000}, 0)


@pytest.mark.parametrize(
    "document", [3, {}, {"product": 1, "terms": {}}, {"product": {}, "terms": 1}]
)
def test_a_product_of_another_shape_is_an_error(document: Any) -> None:
    with pytest.raises(FeedError, match="not a product"), expecting("not a product", "aws"):
        read_products([document])


def test_a_full_regional_offer_is_read_in_seconds_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    count = 100_000
    template = product("x", REGION, "0.5")
    attributes = {f"attribute{n}": "some usual text of a price list" for n in range(20)}
    template["product"]["attributes"] |= attributes
    with path.open("w") as file:
        file.write('{"formatVersion": "v1.0", "products": {')
        for n in range(count):
            body = template["product"]["attributes"] | {
                "instanceType": f"t{n}.large", "tenancy": "Shared" if n % 50 == 0 else "Dedicated",
            }  # fmt: skip
            entry = {"productFamily": "Compute Instance", "sku": f"S{n}", "attributes": body}
            file.write(f'{"," if n else ""}\n "S{n}": {json.dumps(entry, indent=1)}')
        file.write('},\n "terms": {"OnDemand": {')
        terms = json.dumps(template["terms"]["OnDemand"], indent=1)
        file.writelines(f'{"," if n else ""}\n "S{n}": {terms}' for n in range(count))
        file.write('}, "Reserved": {')
        file.writelines(f'{"," if n else ""}\n "S{n}": {terms}' for n in range(0, count, 5))
        file.write("}}}")
    assert path.stat().st_size > 100e6
    start = time.process_time()
    with path.open("rb") as stream:
        prices, dishonest = read_offer_file(stream)
    seconds = time.process_time() - start
    assert (len(prices), dishonest) == (count // 50, 0)
    assert seconds < 20
    tracemalloc.start()
    with path.open("rb") as stream:
        for _ in zip(range(5_000), entries(stream, [("products",)]), strict=False):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_aws_describes_hardware() -> None:
    described = {
        "InstanceType": "p4de.24xlarge", "VCpuInfo": {"DefaultVCpus": 96},
        "MemoryInfo": {"SizeInMiB": 1179648}, "BareMetal": False,
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "BurstablePerformanceSupported": False, "InstanceStorageInfo": {"TotalSizeInGB": 8000},
        "GpuInfo": {"Gpus": [{"Name": "A100", "Manufacturer": "NVIDIA", "Count": 8,
                              "MemoryInfo": {"SizeInMiB": 81920}}]},
        "NetworkInfo": {"NetworkPerformance": "4x 100 Gigabit",
                        "NetworkCards": [{"PeakBandwidthInGbps": 100.0}] * 4},
    }  # fmt: skip
    row = type_record(described, 1)
    assert row.hardware == (
        96.0, 1152.0, "x86_64", None, ("A100-80GB", 80.0), 8.0, False, False, 7450.6, 400.0,
    )  # fmt: skip


@cache
def _discovery(api: str) -> dict[str, Any]:
    import googleapiclient.discovery_cache.documents as documents

    folder = Path(documents.__path__[0])
    document: dict[str, Any] = json.loads((folder / f"{api}.json").read_text())
    return document


def _check(api: str, schema: str, value: Any) -> None:
    """`value` has only fields that the vendor's schema knows, each of its type."""
    schemas = _discovery(api)["schemas"]

    def walk(spec: dict[str, Any], value: Any, path: str) -> None:
        spec = schemas[spec["$ref"]] if "$ref" in spec else spec
        kind = spec["type"]
        if kind == "object":
            assert isinstance(value, dict), path
            for key, inner in value.items():
                properties = spec.get("properties", {})
                assert key in properties or "additionalProperties" in spec, f"{path}.{key}"
                walk(properties.get(key) or spec["additionalProperties"], inner, f"{path}.{key}")
        elif kind == "array":
            assert isinstance(value, list), path
            for inner in value:
                walk(spec["items"], inner, path)
        else:
            expected = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
            assert isinstance(value, expected[kind]), path
            assert "enum" not in spec or value in spec["enum"], f"{path}: {value}"

    walk({"$ref": schema}, value, schema)


def test_the_fakes_of_gcp_answer_as_its_discovery_documents_say() -> None:
    _check("cloudbilling.v1", "ListSkusResponse", {"skus": gcp_skus(), "nextPageToken": ""})
    prices = Prices([], {"n1-standard-4": (4, 15), "a2-highgpu-1g": (12, 85)})
    for kind, schema in (
        ("machineTypes", "MachineTypeAggregatedList"),
        ("acceleratorTypes", "AcceleratorTypeAggregatedList"),
    ):
        _check("compute.v1", schema, gcp_zones(prices, kind))


def test_the_addresses_asked_of_gcp_are_those_of_its_discovery_documents() -> None:
    billing = _discovery("cloudbilling.v1")["resources"]["services"]["resources"]["skus"]
    method = billing["methods"]["list"]
    assert method["path"] == "v1/{+parent}/skus"
    assert {"currencyCode", "pageSize", "pageToken"} <= method["parameters"].keys()
    for kind in ("machineTypes", "acceleratorTypes"):
        method = _discovery("compute.v1")["resources"][kind]["methods"]["aggregatedList"]
        assert method["path"] == f"projects/{{project}}/aggregated/{kind}"
        assert {"maxResults", "pageToken"} <= method["parameters"].keys()


@pytest.mark.parametrize(
    ("changes", "sold"),
    [
        ({}, ("Standard_D4s_v5", False)),
        ({"skuName": "D4s v5 Spot"}, ("Standard_D4s_v5", True)),
        ({"meterName": "D4s v5 Spot"}, ("Standard_D4s_v5", True)),
        ({"armSkuName": "standard_D4s_v5"}, ("Standard_D4s_v5", False)),
        ({"productName": "Virtual Machines Dsv5 Series Windows"}, None),
        ({"productName": "Cloud Services Dv2 Series"}, None),
        ({"productName": "Dsv5 Series Dedicated Host"}, None),
        ({"type": "DevTestConsumption"}, None),
        ({"type": "Reservation"}, None),
        ({"meterName": "D4s v5 Low Priority"}, None),
        ({"serviceName": "Cloud Services"}, None),
        ({"unitOfMeasure": "1 GB"}, None),
        ({"currencyCode": "EUR"}, None),
        ({"armSkuName": ""}, None),
        ({"tierMinimumUnits": 100.0}, None),
    ],
)
def test_azure_rows(changes: dict[str, Any], sold: tuple[str, bool] | None) -> None:
    assert plain_size(azure_item("Standard_D4s_v5", "eastus", 0.2, False, **changes)) == sold


def test_azure_sizes_have_the_cpus_they_really_get() -> None:
    rows = {row.name: row for row in type_records(AZURE_SKUS, 1)}
    assert rows.keys() == {"Standard_D4s_v5", "Standard_Z64_v9"}
    assert rows["Standard_Z64_v9"].hardware[:3] == (16.0, 256.0, "arm64")
    assert rows["Standard_Z64_v9"].hardware[8] == 100.0


def test_pages_that_lead_in_a_circle_end() -> None:
    with pytest.raises(FeedError, match="circle"):
        list(follow("a", lambda _: {}, lambda _: "a", "x"))
    numbers = iter(range(10**6))
    with pytest.raises(FeedError, match="pages"):
        list(follow("a", lambda _: {}, lambda _: str(next(numbers)), "x"))


def test_forty_regions_at_fifty_milliseconds_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_book(tmp_path / "data", {"eastus"}):
        home = tmp_path / "home"
        regions = sorted({r.name for r in open_book(home).regions().values()
                          if r.cloud == "azure"})[:40]  # fmt: skip
        with serving(home) as servers:
            for name, value in servers.environment.items():
                monkeypatch.setenv(name, value)
            monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
            for region in regions:
                for n in range(300):
                    servers.prices.of["azure", region, f"Standard_D{n}_v9", False] = "0.5"
            servers.faults.delay_s = 0.05
            start = time.monotonic()
            scope = Scope(frozenset(regions))
            moment = datetime.now(UTC) + timedelta(days=1)
            report = refresh(home, [FEEDS["azure"]()], scope, moment, accept=True)
            seconds = time.monotonic() - start
        assert not report.failures
        assert report.outcomes[0].prices >= 40 * 300
        assert servers.faults.asked["/api/retail/prices"] >= 80
        assert seconds < 90
