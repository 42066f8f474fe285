"""GCP: the billing catalogue's parts added up to machines, where Compute Engine offers them.

The catalogue needs an API key (`MLBROKER_GCP_API_KEY`) or an access token
(`CLOUDSDK_AUTH_ACCESS_TOKEN`, else Google's application-default credentials). With a token and
`GOOGLE_CLOUD_PROJECT`, Compute Engine says which machines each region really offers; without,
the book's own list stands.
"""

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from mlbroker.broker.prices.feeds.gcp_machines import (
    Machine,
    accelerator_regions,
    known_machines,
    listed,
)
from mlbroker.broker.prices.feeds.gcp_skus import read_skus
from mlbroker.broker.prices.feeds.interface import Batch, Cover, Known, Plan, Scope, Task
from mlbroker.broker.prices.feeds.pages import follow
from mlbroker.broker.prices.http import FeedError, Http
from mlbroker.broker.prices.rows import PriceRow

BILLING_URL = "https://cloudbilling.googleapis.com"
COMPUTE_URL = "https://compute.googleapis.com"
COMPUTE_ENGINE = "services/6F81-5844-456A"  # Compute Engine's name in the catalogue


class GcpFeed:
    """Prices and machine types of GCP."""

    cloud = "gcp"

    def plan(self, scope: Scope, known: Known, http: Http) -> Plan:
        """One task: the catalogue is one list for all regions."""
        headers = credentials()
        project = os.environ.get("GOOGLE_CLOUD_PROJECT")
        live = project if "Authorization" in headers else None
        notes = [] if live else [
            "no GOOGLE_CLOUD_PROJECT or no token: where machines are offered stays as the book"
            " has it"
        ]  # fmt: skip

        def fetch() -> Batch:
            try:
                return _fetch(scope, known, http, headers, live)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise FeedError(
                    f"not shaped as GCP's answers are: {error!r}", where="gcp"
                ) from None

        return Plan([Task("price catalogue and machine types", fetch)], notes)


def _fetch(
    scope: Scope, known: Known, http: Http, headers: Mapping[str, str], project: str | None
) -> Batch:
    base = os.environ.get("MLBROKER_GCP_PRICES_URL", BILLING_URL).rstrip("/")
    first = f"{base}/v1/{COMPUTE_ENGINE}/skus?currencyCode=USD&pageSize=5000"
    prices = read_skus(_items(first, "skus", http, headers))
    machines = known_machines(known.types.values())
    offered: dict[str, set[str]] = {region: set(names) for region, names in known.offered.items()}
    if project:
        machines, offered = _live(project, machines, http, headers)
    rows, covers = [], []
    for region in sorted(offered):
        if scope.regions and region not in scope.regions:
            continue
        gone = (known.offered.get(region, frozenset()) - offered[region]) if project else set()
        for spot in (False, True):
            judged = {name for name in gone if scope.admits(name)}
            for name in offered[region]:
                machine = machines.get(name)
                if machine is None or not scope.admits(name):
                    continue
                price = machine.price(prices, (region, spot))
                if price:
                    source = "gcp-billing-catalog"
                    rows.append(PriceRow("gcp", region, name, spot, price, known.day, source))
                    judged.add(name)
            covers.append(Cover(region, spot, frozenset(judged)))
    if not rows:
        raise FeedError("no machine can be priced from its catalogue", where="gcp")
    sold = {row.instance_type for row in rows}
    types = [machines[name].row(known.day) for name in sorted(sold - known.types.keys())]
    return Batch(rows, types, covers, dishonest=prices.dishonest)


def _live(
    project: str, book: Mapping[str, Machine], http: Http, headers: Mapping[str, str]
) -> tuple[dict[str, Machine], dict[str, set[str]]]:
    """What Compute Engine offers now; attached GPUs where their region has them."""
    base = os.environ.get("MLBROKER_GCP_COMPUTE_URL", COMPUTE_URL).rstrip("/")
    aggregated = f"{base}/compute/v1/projects/{urllib.parse.quote(project, safe='')}/aggregated"
    machines, offered = listed(
        _zones(f"{aggregated}/machineTypes?maxResults=500", "machineTypes", http, headers)
    )
    accelerators = accelerator_regions(
        _zones(f"{aggregated}/acceleratorTypes?maxResults=500", "acceleratorTypes", http, headers)
    )
    # Which numbers of GPUs go with which machines is a rule the book knows and no API tells.
    for name, machine in book.items():
        base_name, plus, _ = name.partition("+")
        if plus and base_name in machines:
            machines[name] = machine
            for region, names in offered.items():
                if base_name in names and machine.accelerator in accelerators.get(region, ()):
                    names.add(name)
    return machines, offered


def _items(
    first: str, key: str, http: Http, headers: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    for page in pages(first, http, headers):
        yield from page.get(key, ())


def _zones(
    first: str, key: str, http: Http, headers: Mapping[str, str]
) -> dict[str, dict[str, list[Any]]]:
    zones: dict[str, dict[str, list[Any]]] = {}
    for page in pages(first, http, headers):
        for zone, scoped in page.get("items", {}).items():
            zones.setdefault(zone, {key: []})[key] += scoped.get(key, [])
    return zones


def pages(first: str, http: Http, headers: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Every page of a list of Google's."""

    def next_of(page: Mapping[str, Any]) -> str | None:
        token = page.get("nextPageToken")
        return f"{first}&pageToken={urllib.parse.quote(token, safe='')}" if token else None

    return follow(first, lambda url: http.json(url, headers), next_of, "gcp")


def credentials() -> dict[str, str]:
    """Request headers; a key or token never goes into an address, which logs would keep."""
    token = os.environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN") or _default_token()
    if token:
        return {"Authorization": f"Bearer {token}"}
    key = os.environ.get("MLBROKER_GCP_API_KEY")
    if key:
        return {"X-Goog-Api-Key": key}
    raise FeedError(
        "no credentials for GCP's price catalogue",
        where="gcp",
        hint="Set MLBROKER_GCP_API_KEY, or sign in: gcloud auth application-default login.",
    )


def _default_token() -> str | None:
    try:
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.requests
    except ImportError:
        return None
    try:
        found, _ = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform.read-only"]
        )
        found.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]
    except google.auth.exceptions.DefaultCredentialsError:
        return None
    except google.auth.exceptions.GoogleAuthError as error:
        raise FeedError(
            f"the credentials are refused or expired: {error}",
            where="gcp",
            hint="Sign in again: gcloud auth application-default login.",
        ) from None
    return str(found.token)
