"""The vendors' price services on loopback: genuine in shape, with the embedded book's prices.

AWS is moto's server behind a layer that answers what moto does not: the price list and the spot
price history. The rest are small fakes of the public HTTPS services. `faults` makes any of them
misbehave. `python -m tests.support.price_servers` serves until it is interrupted.
"""

import gzip
import io
import json
import os
import re
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.prices import browse
from mlbroker.broker.prices.price_book import open_book
from mlbroker.pricing.offer import Offer

GET_PRODUCTS = "AWSPriceListService.GetProducts"
LIST_QUOTAS = "ServiceQuotasV20190624.ListServiceQuotas"


class Place(NamedTuple):
    """Where a feed is tried: a region, and a type that is sold there."""

    region: str
    instance_type: str


PLACES = {
    "aws": Place("us-east-1", "m5.large"),
    "azure": Place("eastus", "Standard_D4s_v5"),
    "gcp": Place("us-central1", "a2-highgpu-1g"),
}


class Prices:
    """What the fakes sell: (cloud, region, type, spot) -> US dollars an hour, as text."""

    def __init__(self, rows: Iterable[Offer], machines: Mapping[str, tuple[float, float]]) -> None:
        self.machines = machines  # GCP's types: name -> CPUs and GiB
        self.of: dict[tuple[str, str, str, bool], str] = {
            (row.cloud, row.region, row.instance_type, row.market == "spot"): (
                f"{row.price_per_hour_usd:f}"
            )
            for row in rows
        }

    def at(self, cloud: str, region: str, spot: bool) -> dict[str, str]:
        """Type -> price of one place."""
        return {
            key[2]: price
            for key, price in self.of.items()
            if key[0] == cloud and key[1] == region and key[3] == spot
        }


class Faults:
    """What goes wrong: the next `times` requests whose address contains `where` get `what`."""

    def __init__(self) -> None:
        self._waiting: list[list[Any]] = []
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.delay_s = 0.0

    def add(self, where: str, what: str, times: int = 1_000_000) -> None:
        """Plan a fault; what: a status code, or cut, empty, garbage, list, redirect, skew, bomb."""
        self._waiting.append([where, what, times])

    def clear(self) -> None:
        """Everything works again."""
        self._waiting.clear()
        self.asked.clear()
        self.delay_s = 0.0

    def take(self, address: str) -> str | None:
        """The fault for this request, if any."""
        with self._lock:
            self.asked[address.split("?")[0]] += 1
            for fault in self._waiting:
                if fault[0] in address and fault[2] > 0:
                    fault[2] -= 1
                    return str(fault[1])
        return None


def product(name: str, region: str, price: str, **changes: str) -> dict[str, Any]:
    """One document of AWS's price list."""
    sku = f"{abs(hash((name, region, *changes.values()))):016X}"
    attributes = {
        "instanceType": name, "regionCode": region, "operatingSystem": "Linux",
        "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used",
        "operation": "RunInstances", "servicecode": "AmazonEC2", "vcpu": "2",
    } | changes  # fmt: skip
    dimension = {
        "unit": "Hrs", "beginRange": "0", "endRange": "Inf", "rateCode": f"{sku}.A.B",
        "description": f"${price} per Hour", "pricePerUnit": {"USD": price},
    }  # fmt: skip
    term = {"priceDimensions": {f"{sku}.A.B": dimension}, "sku": sku, "offerTermCode": "A"}
    return {
        "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {f"{sku}.A": term}},
    }


@cache
def aws_documents(prices: Prices, region: str) -> list[dict[str, Any]]:
    """A region's products, among others that are dearer and must not be taken."""
    documents = []
    for name, price in prices.at("aws", region, False).items():
        documents.append(product(name, region, price))
        documents.append(product(name, region, "99", operatingSystem="Windows"))
        documents.append(product(name, region, "98", tenancy="Dedicated"))
        documents.append(product(name, region, "97", preInstalledSw="SQL Std"))
        documents.append(product(name, region, "0.0", capacitystatus="AllocatedHost"))
    return documents


def offer_file(documents: list[dict[str, Any]]) -> bytes:
    """The same as a bulk offer file."""
    products = {d["product"]["sku"]: d["product"] for d in documents}
    terms = {d["product"]["sku"]: d["terms"]["OnDemand"] for d in documents}
    return json.dumps(
        {
            "formatVersion": "v1.0",
            "offerCode": "AmazonEC2",
            "products": products,
            "terms": {"OnDemand": terms, "Reserved": {sku: {"x": {}} for sku in terms}},
        },
        indent=1,
    ).encode()


def azure_item(name: str, region: str, price: float, spot: bool, **changes: Any) -> dict[str, Any]:
    """One row of the retail price list."""
    short = name.removeprefix("Standard_").replace("_", " ") + (" Spot" if spot else "")
    return {
        "currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price, "unitPrice": price,
        "armRegionName": region, "productName": "Virtual Machines Series", "skuName": short,
        "meterName": short, "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour",
        "type": "Consumption", "isPrimaryMeterRegion": True, "armSkuName": name,
        "effectiveStartDate": "2024-05-01T00:00:00Z",
    } | changes  # fmt: skip


ODD_METERS: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.3, {"isPrimaryMeterRegion": False}),
    (3.0, {"isPrimaryMeterRegion": False, "effectiveStartDate": "2025-01-01T00:00:00Z"}),
    (0.1, {"effectiveStartDate": "2099-01-01T00:00:00Z"}),
    (0.2, {"effectiveEndDate": "2025-06-30T23:59:59Z"}),
    (0.9, {"effectiveStartDate": "2015-01-01T00:00:00Z"}),
)


@cache
def azure_items(prices: Prices, region: str) -> list[dict[str, Any]]:
    """A region's rows, Windows, DevTest, Low Priority and reservations among them."""
    items = []
    for spot in (False, True):
        for name, text in prices.at("azure", region, spot).items():
            price = float(text)
            windows = {"productName": "Virtual Machines Series Windows"}
            items.append(azure_item(name, region, price, spot))
            items.append(azure_item(name, region, price * 0.5, spot, **windows))
            items.append(azure_item(name, region, price / 2, spot, type="DevTestConsumption"))
            items.append(azure_item(name, region, price * 4000, spot, type="Reservation"))
            items.append(azure_item(name, region, price / 5, False, meterName="X Low Priority"))
            if len(items) < 200:
                # Meters beside the one that bills, cheaper and dearer, and one without an end.
                for share, odd in ODD_METERS:
                    items.insert(0, azure_item(name, region, price * share, spot, **odd))
    return items


def gcp_sku(text: str, usage: str, regions: list[str], nanos: int, unit: str) -> dict[str, Any]:
    """One SKU of the billing catalogue."""
    money = {"currencyCode": "USD", "units": str(nanos // 10**9), "nanos": nanos % 10**9}
    return {
        "name": "services/6F81-5844-456A/skus/0000", "skuId": "0000", "description": text,
        "category": {"serviceDisplayName": "Compute Engine", "resourceFamily": "Compute",
                     "resourceGroup": "CPU", "usageType": usage},
        "serviceRegions": regions, "serviceProviderName": "Google",
        "pricingInfo": [{"pricingExpression": {
            "usageUnit": unit, "displayQuantity": 1, "baseUnit": "s",
            "tieredRates": [{"startUsageAmount": 0, "unitPrice": money}]},
            "currencyConversionRate": 1, "effectiveTime": "2026-11-01T00:00:00Z"}],
    }  # fmt: skip


def gcp_skus() -> list[dict[str, Any]]:
    """Iowa's and Belgium's parts of N1, A2 and attachable GPUs, and what must be passed over."""
    regions = ["us-central1", "europe-west1"]
    skus = []
    for usage, prefix, attached, share in (
        ("OnDemand", "", "", 100),
        ("Preemptible", "Spot Preemptible ", " attached to Spot Preemptible VMs", 30),
    ):
        for text, nanos, unit in (
            (f"{prefix}N1 Predefined Instance Core running in Americas", 31_611_000, "h"),
            (f"{prefix}N1 Predefined Instance Ram running in Americas", 4_237_000, "GiBy.h"),
            (f"{prefix}A2 Instance Core running in Americas", 31_611_000, "h"),
            (f"{prefix}A2 Instance Ram running in Americas", 4_237_000, "GiBy.h"),
            (f"Nvidia Tesla A100 GPU{attached} running in Americas", 2_933_908_000, "h"),
            (f"Nvidia Tesla T4 GPU{attached} running in Americas", 350_000_000, "h"),
        ):
            skus.append(gcp_sku(text, usage, regions, nanos * share // 100, unit))
    sole = "N1 Sole Tenancy Instance Core running in Americas"
    skus.append(gcp_sku(sole, "OnDemand", regions, 1, "h"))
    custom = "Custom Instance Core running in Americas"
    skus.append(gcp_sku(custom, "OnDemand", regions, 2, "h"))
    committed = "N1 Predefined Instance Core running in Americas"
    skus.append(gcp_sku(committed, "Commit1Yr", regions, 3, "h"))
    return skus


def gcp_zones(prices: Prices, kind: str) -> dict[str, Any]:
    """The aggregated list of machine or accelerator types: Iowa has them all, Belgium no A2."""
    link = "https://www.googleapis.com/compute/v1/projects/p/zones"

    def machine(name: str, cpus: int, mb: int, gpus: int = 0) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "kind": "compute#machineType", "id": "1", "name": name, "guestCpus": cpus,
            "memoryMb": mb, "isSharedCpu": False, "architecture": "X86_64",
        }  # fmt: skip
        if gpus:
            entry["accelerators"] = [
                {"guestAcceleratorType": "nvidia-tesla-a100", "guestAcceleratorCount": gpus}
            ]
        return entry

    sold = [
        machine(name, int(cpus), int(gib * 1024), int(name == "a2-highgpu-1g"))
        for name, (cpus, gib) in prices.machines.items()
    ]
    belgium = [entry for entry in sold if entry["name"] != "a2-highgpu-1g"]
    new = [machine("n1-standard-5", 5, 20 * 1024)]
    gpu = {"kind": "compute#acceleratorType", "name": "nvidia-tesla-t4"}
    items: dict[str, Any] = {
        "machineTypes": {
            "zones/us-central1-a": {"machineTypes": [*sold, *new]},
            "zones/europe-west1-b": {"machineTypes": belgium},
            "zones/us-west4-c": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
        },
        "acceleratorTypes": {"zones/us-central1-a": {"acceleratorTypes": [gpu]}},
    }[kind]
    return {"kind": f"compute#{kind[:-1]}AggregatedList", "id": "x", "items": items,
            "selfLink": link}  # fmt: skip


def _paged(
    what: str, entries: list[dict[str, Any]], query: dict[str, list[str]], size: int
) -> dict[str, Any]:
    """One of Google's pages; the last one's token is empty."""
    start = int(query.get("pageToken", ["0"])[0])
    end = start + size
    return {
        what: entries[start:end],
        "nextPageToken": str(end) if end < len(entries) else "",
    }


def gcp_region(name: str) -> dict[str, Any]:
    """A region with its quotas."""
    rows = (("CPUS", 24, 8), ("A2_CPUS", 12, 0), ("PREEMPTIBLE_CPUS", 100, 0),
            ("NVIDIA_A100_GPUS", 1, 1), ("NVIDIA_T4_GPUS", 2, 0), ("DISKS_TOTAL_GB", 4096, 10),
            ("PREEMPTIBLE_NVIDIA_T4_GPUS", 0, 0))  # fmt: skip
    quotas = [{"metric": metric, "limit": float(limit), "usage": float(used)}
              for metric, limit, used in rows]  # fmt: skip
    return {"kind": "compute#region", "id": "1", "name": name, "quotas": quotas}


def azure_sku(name: str, family: str, **capabilities: str) -> dict[str, Any]:
    """One Resource SKU."""
    return {
        "resourceType": "virtualMachines", "name": name, "family": family,
        "locations": ["eastus"], "restrictions": [],
        "capabilities": [{"name": key, "value": value} for key, value in capabilities.items()],
    }  # fmt: skip


AZURE_SKUS = [
    azure_sku("Standard_D4s_v5", "standardDSv5Family", vCPUs="4", MemoryGB="16"),
    azure_sku("Standard_Z64_v9", "standardZFamily", vCPUs="64", MemoryGB="256",
              vCPUsAvailable="16", CpuArchitectureType="Arm64", MaxResourceVolumeMB="102400"),
    azure_sku("Standard_Forbidden", "standardZFamily", vCPUs="4", MemoryGB="16")
    | {"restrictions": [{"type": "Location", "reasonCode": "NotAvailableForSubscription"}]},
    {"resourceType": "disks", "name": "Premium_LRS"},
]  # fmt: skip
AZURE_USAGES = [
    {"name": {"value": "cores", "localizedValue": "Total Regional vCPUs"}, "limit": 100,
     "currentValue": 90, "unit": "Count"},
    {"name": {"value": "lowPriorityCores"}, "limit": 3, "currentValue": 0, "unit": "Count"},
    {"name": {"value": "standardDSv5Family", "localizedValue": "Standard DSv5 Family vCPUs"},
     "limit": 10, "currentValue": 4, "unit": "Count"},
]  # fmt: skip
AWS_QUOTAS = [
    {"QuotaCode": "L-1216C47A", "Value": 32.0,
     "QuotaName": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"},
    {"QuotaCode": "L-417A185B", "Value": 0.0, "QuotaName": "Running On-Demand P instances"},
    {"QuotaCode": "L-3819A6DF", "Value": 4.0, "QuotaName": "All G and VT Spot Instance Requests"},
    {"QuotaCode": "L-0263D0A3", "Value": 5.0, "QuotaName": "EC2-VPC Elastic IPs"},
]  # fmt: skip


class PriceServers:
    """All the services, started; `environment` points mlbroker at them."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.faults = Faults()
        self._public = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._public.daemon_threads = True
        self._aws = _aws_server(self)
        for server in (self._public, self._aws):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        public = f"http://127.0.0.1:{self._public.server_address[1]}"
        self.environment = {
            "MLBROKER_AWS_PRICES_URL": public,
            "MLBROKER_AWS_ADVISOR_URL": f"{public}/spot-advisor-data.json",
            "MLBROKER_GCP_PRICES_URL": public,
            "MLBROKER_GCP_COMPUTE_URL": public,
            "MLBROKER_AZURE_PRICES_URL": public,
            "MLBROKER_AZURE_MANAGEMENT_URL": public,
            "CLOUDSDK_AUTH_ACCESS_TOKEN": "token",
            "GOOGLE_CLOUD_PROJECT": "p",
            "AZURE_ACCESS_TOKEN": "token",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._aws.port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def set_price(
        self, cloud: str, region: str, name: str, spot: bool, price: str | None
    ) -> str | None:
        """Sell at another price, or no longer with None; returns the price before."""
        before = self.prices.of.pop((cloud, region, name, spot), None)
        if price is not None:
            self.prices.of[cloud, region, name, spot] = price
        self.prices_changed()
        return before

    def prices_changed(self) -> None:
        """Forget the answers made of the prices before."""
        aws_documents.cache_clear()
        azure_items.cache_clear()

    def close(self) -> None:
        """Stop serving."""
        for server in (self._public, self._aws):
            server.shutdown()
            server.server_close()

    def _answer(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, dict[str, str]]:
        if found := re.fullmatch(r"/offers/v1.0/aws/AmazonEC2/current/(.+)/index.json", path):
            content = offer_file(aws_documents(self.prices, found[1]))
            return content, {"ETag": f'"{len(content)}"'}
        if path == "/spot-advisor-data.json":
            bands = {"m5.large": {"r": 1, "s": 60}, "g5.xlarge": {"r": 4, "s": 70}}
            return _json({"spot_advisor": {"us-east-1": {"Linux": bands}}})
        if path == "/api/retail/prices":
            return self._azure(query)
        if path.endswith("/skus") and path.startswith("/v1/"):
            return _json(_paged("skus", gcp_skus(), query, 20))
        if path.endswith("/regions"):
            regions = [gcp_region("us-central1"), gcp_region("europe-west1")]
            return _json(_paged("items", regions, query, 1))
        if path.endswith("/Microsoft.Compute/skus"):
            return _json({"value": AZURE_SKUS})
        if path.endswith("/usages"):
            return _json({"value": AZURE_USAGES})
        if path.endswith(("/aggregated/machineTypes", "/aggregated/acceleratorTypes")):
            return _json(gcp_zones(self.prices, path.rsplit("/", 1)[1]))
        return _json({"error": "not found"})

    def _azure(self, query: dict[str, list[str]]) -> tuple[bytes, dict[str, str]]:
        condition = query["$filter"][0]
        region = re.search(r"armRegionName eq '([^']+)'", condition)
        items = azure_items(self.prices, region[1] if region else "")
        if named := re.search(r"armSkuName eq '([^']+)'", condition):
            items = [item for item in items if item["armSkuName"] == named[1]]
        skip, size = int(query.get("$skip", ["0"])[0]), 1000
        more = urllib.parse.urlencode({"$filter": condition, "$skip": skip + size})
        host = f"http://127.0.0.1:{self._public.server_address[1]}"
        link = f"{host}/api/retail/prices?{more}" if skip + size < len(items) else None
        page = items[skip : skip + size]
        return _json({"Items": page, "NextPageLink": link, "Count": len(page)})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        servers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                time.sleep(servers.faults.delay_s)
                fault = servers.faults.take(self.path)
                parts = urllib.parse.urlsplit(self.path)
                content, headers = servers._answer(parts.path, urllib.parse.parse_qs(parts.query))
                if not fault and self.headers.get("If-None-Match") == headers.get("ETag", "-"):
                    self.send_response(304)
                    self.end_headers()
                    return
                self._send(fault, content, headers)

            def _send(self, fault: str | None, content: bytes, headers: dict[str, str]) -> None:
                status, length = 200, None
                if fault and fault.isdigit():
                    status, content, headers = int(fault), b"{}", {"Retry-After": "0"}
                elif fault == "cut":
                    length, content = len(content), content[: len(content) // 2]
                elif fault == "redirect":
                    status, headers = 302, {"Location": "http://127.0.0.2:9/"}
                elif fault == "bomb":
                    content = gzip.compress(b" " * 200_000_000)
                    headers = {"Content-Encoding": "gzip"}
                elif fault:
                    content = {
                        "empty": b"", "garbage": b"<html>maintenance</html>", "list": b"[1]",
                        "no rows": b'{"Items": [], "skus": [], "products": {}, "terms": {}}',
                        "deep": b'{"Items": ' + b"[" * 200_000, "skew": content,
                    }[fault]  # fmt: skip
                self.send_response_only(status)
                now = datetime.now(UTC) - timedelta(hours=3 if fault == "skew" else 0)
                self.send_header("Date", now.strftime("%a, %d %b %Y %H:%M:%S GMT"))
                self.send_header("Content-Length", str(length or len(content)))
                for name, value in headers.items():
                    self.send_header(name, value)
                if fault == "cut":
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(content)

        return Handler


def _json(document: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    return json.dumps(document).encode(), {"Content-Type": "application/json"}


def _aws_server(servers: PriceServers) -> Any:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size)
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        region = scope[1] if scope else "us-east-1"
        form = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
        action = environ.get("HTTP_X_AMZ_TARGET") or form.get("Action", [""])[0]
        time.sleep(servers.faults.delay_s)
        fault = servers.faults.take(f"aws:{region}:{action}")
        if fault:
            start("400 Bad Request", [("Content-Type", "text/xml")])
            text = f"<Response><Errors><Error><Code>{fault}</Code><Message>no</Message></Error>"
            return [f"{text}</Errors><RequestID>1</RequestID></Response>".encode()]
        if action == GET_PRODUCTS:
            start("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
            return [_get_products(servers.prices, json.loads(body))]
        if action == LIST_QUOTAS:
            start("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps({"Quotas": AWS_QUOTAS}).encode()]
        if action == "DescribeSpotPriceHistory":
            start("200 OK", [("Content-Type", "text/xml")])
            return [_spot_history(servers.prices, region, form)]
        environ["wsgi.input"] = io.BytesIO(body)
        return moto(environ, start)

    return make_server("127.0.0.1", 0, application, threaded=True, request_handler=_quiet())


def _quiet() -> Any:
    from werkzeug.serving import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    return Quiet


def _get_products(prices: Prices, request: dict[str, Any]) -> bytes:
    equal = {entry["Field"]: entry["Value"] for entry in request["Filters"]}
    region = equal.pop("regionCode")
    documents = [
        document
        for document in aws_documents(prices, region)
        if all(document["product"]["attributes"].get(k) == v for k, v in equal.items())
    ]
    at = int(request.get("NextToken") or 0)
    answer: dict[str, Any] = {
        "FormatVersion": "aws_v1",
        "PriceList": [json.dumps(document) for document in documents[at : at + 100]],
    }
    if at + 100 < len(documents):
        answer["NextToken"] = str(at + 100)
    return json.dumps(answer).encode()


def _spot_history(prices: Prices, region: str, form: dict[str, list[str]]) -> bytes:
    wanted = {values[0] for key, values in form.items() if key.startswith("InstanceType")}
    items = []
    for name, price in prices.at("aws", region, True).items():
        if wanted and name not in wanted:
            continue
        for zone, moment, text in (
            ("a", "2026-11-23T10:00:00.000Z", price),
            ("b", "2026-11-23T11:00:00.000Z", f"{float(price) * 1.5:.6f}"),
            ("b", "2026-11-20T11:00:00.000Z", f"{float(price) * 0.2:.6f}"),  # no longer so
        ):
            items.append(
                f"<item><instanceType>{name}</instanceType><productDescription>Linux/UNIX"
                f"</productDescription><spotPrice>{text}</spotPrice><timestamp>{moment}"
                f"</timestamp><availabilityZone>{region}{zone}</availabilityZone></item>"
            )
    return (
        '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>1</requestId><spotPriceHistorySet>{''.join(items)}</spotPriceHistorySet>"
        "<nextToken></nextToken></DescribeSpotPriceHistoryResponse>"
    ).encode()


@contextmanager
def serving(home: Path, regions: Iterable[str] = ()) -> Iterator[PriceServers]:
    """The servers with the book's prices, of some regions only when they are named."""
    chosen = set(regions)
    book = open_book(home, today=date(2026, 11, 24))
    rows = [row for row in browse.prices(book) if not chosen or row.region in chosen]
    machines = {
        entry.name: (entry.hardware.vcpus, entry.hardware.memory_gib)
        for _, _, entry in book.types()
        if entry.cloud == "gcp" and "+" not in entry.name
    }
    book.close()
    servers = PriceServers(Prices(rows, machines))
    try:
        yield servers
    finally:
        servers.close()


def main() -> None:
    """Serve until interrupted, after telling how to use it."""
    from mlbroker.broker.home import home

    with serving(home()) as servers:
        for name, value in servers.environment.items():
            print(f"export {name}={value}")
        print("# Paste these lines into another shell, then: mlbroker prices refresh", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("# stopped")


if __name__ == "__main__":
    main()
