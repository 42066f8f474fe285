"""AWS's price list: which products are plain Linux machines, and what an hour of them costs."""

from collections.abc import Iterable, Mapping
from typing import IO, Any

from mlbroker.broker.prices.feeds.aws.json_stream import entries
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
    prices: dict[str, int] = {}
    dishonest = 0
    for document in documents:
        product, terms = document["product"], document["terms"].get("OnDemand", {})
        name = plain_type(product)
        if name is None or not terms:
            continue
        price = hourly_nano(terms)
        if price is None:
            dishonest += 1
        else:
            prices[name] = price
    return prices, dishonest


def read_offer_file(stream: IO[bytes]) -> tuple[dict[str, int], int]:
    """The same of a region's bulk offer file, which is read as a stream."""
    names: dict[str, str] = {}
    prices: dict[str, int] = {}
    dishonest = 0
    for path, sku, value in entries(stream, [("products",), ("terms", "OnDemand")]):
        if path == ("products",):
            name = plain_type(value)
            if name is not None:
                names[sku] = name
        elif sku in names:
            price = hourly_nano(value)
            if price is None:
                dishonest += 1
            else:
                prices[names[sku]] = price
    return prices, dishonest
