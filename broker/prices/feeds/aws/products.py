"""AWS's price list and machine types: what is a plain Linux machine, its price and its hardware."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from mlbroker.broker.prices.feeds.aws.json_stream import entries
from mlbroker.broker.prices.records import TypeRecord
from mlbroker.pricing.price_units import nano_from_usd

# Linux without a licence, on shared hardware, running and not merely reserved. The list also has
# dedicated tenancy (6 to 10 % dearer), capacity reservations and machines with SQL Server.
PLAIN = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}
FAMILIES = ("Compute Instance", "Compute Instance (bare metal)")
# What DescribeInstanceTypes calls a GPU, where the book's name tells models apart by memory.
_BY_MEMORY = {
    "A100": ((60, "A100-40GB"), (1000, "A100-80GB")),
    "V100": ((20, "V100-16GB"), (1000, "V100-32GB")),
}
_GIB_PER_GB = 1e9 / 2**30


def plain_type(product: Any) -> str | None:
    """The machine type of a plain Linux product, None for every other product."""
    if product.get("productFamily") not in FAMILIES:
        return None
    attributes: Mapping[str, str] = product["attributes"]
    if any(attributes.get(name) != value for name, value in PLAIN.items()):
        return None
    if attributes.get("marketoption", "OnDemand") != "OnDemand":
        return None
    # Other operations are the same machine with a licence in it.
    if attributes.get("operation", "RunInstances") != "RunInstances":
        return None
    return attributes["instanceType"]


def hourly_nano(terms: Any) -> int | None:
    """The on-demand price of an hour in billionths, None when it is no honest price."""
    for term in terms.values():
        for dimension in term["priceDimensions"].values():
            if dimension.get("unit") == "Hrs" and dimension.get("beginRange", "0") == "0":
                return nano_from_usd(dimension["pricePerUnit"].get("USD", ""))
    return None


def read_products(documents: Iterable[Any]) -> tuple[dict[str, int], int]:
    """Type -> price of GetProducts' documents, and how many had no honest price."""

    def sold() -> Iterator[tuple[str, Any]]:
        for document in documents:
            name, terms = plain_type(document["product"]), document["terms"].get("OnDemand")
            if name and terms:
                yield name, terms

    return _prices(sold())


def read_offer_file(stream: IO[bytes]) -> tuple[dict[str, int], int]:
    """The same of a region's bulk offer file, which is read as a stream."""

    def sold() -> Iterator[tuple[str, Any]]:
        names: dict[str, str] = {}
        for path, sku, value in entries(stream, [("products",), ("terms", "OnDemand")]):
            if path == ("products",):
                if name := plain_type(value):
                    names[sku] = name
            elif sku in names:
                yield names[sku], value

    return _prices(sold())


def _prices(sold: Iterable[tuple[str, Any]]) -> tuple[dict[str, int], int]:
    """From types and their terms."""
    prices: dict[str, int] = {}
    dishonest = 0
    for name, terms in sold:
        price = hourly_nano(terms)
        if price is None:
            dishonest += 1
        else:
            prices[name] = price
    return prices, dishonest


def type_record(described: dict[str, Any], day: int) -> TypeRecord:
    """One entry of DescribeInstanceTypes, as hardware of the book."""
    processor = described["ProcessorInfo"]["SupportedArchitectures"]
    gpu, gpu_count = _gpu(described)
    storage = described.get("InstanceStorageInfo") or {}
    hardware = (
        float(described["VCpuInfo"]["DefaultVCpus"]),
        described["MemoryInfo"]["SizeInMiB"] / 1024,
        "arm64" if "arm64" in processor else "x86_64",
        None,  # the micro-architecture is not told
        gpu,
        float(gpu_count),
        bool(described.get("BurstablePerformanceSupported")),
        bool(described.get("BareMetal")),
        round(storage.get("TotalSizeInGB", 0) * _GIB_PER_GB, 1),
        _gbps(described.get("NetworkInfo") or {}),
    )
    return TypeRecord("aws", described["InstanceType"], hardware, day, "aws-DescribeInstanceTypes")


def _gpu(described: dict[str, Any]) -> tuple[tuple[str, float] | None, int]:
    gpus = (described.get("GpuInfo") or {}).get("Gpus") or []
    if not gpus:
        return None, 0
    gpu = gpus[0]
    memory = (gpu.get("MemoryInfo") or {}).get("SizeInMiB", 0) / 1024
    name = str(gpu["Name"])
    for limit, model in _BY_MEMORY.get(name, ()):
        if memory < limit:
            name = model
            break
    return (name, round(memory, 2)), int(gpu.get("Count", 1))


def _gbps(network: dict[str, Any]) -> float | None:
    cards = [card.get("PeakBandwidthInGbps") for card in network.get("NetworkCards") or []]
    if cards and all(isinstance(card, int | float) for card in cards):
        return float(sum(cards))
    found = re.fullmatch(r"(?:Up to )?([0-9.]+) Gigabit", network.get("NetworkPerformance") or "")
    return float(found[1]) if found else None
