"""Google's REST APIs: credentials, and lists that come in pages."""

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from mlbroker.broker.extras import how_to_install
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import follow
from mlbroker.broker.prices.feeds.interface import FeedError

BILLING_URL = "https://cloudbilling.googleapis.com"
COMPUTE_URL = "https://compute.googleapis.com"
COMPUTE_ENGINE = "services/6F81-5844-456A"  # Compute Engine's name in the catalogue


class Google:
    """The billing catalogue and, where `project` is one, Compute Engine."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._headers = _credentials()
        named = os.environ.get("GOOGLE_CLOUD_PROJECT")
        self.project = named if "Authorization" in self._headers else None

    def skus(self) -> Iterator[Mapping[str, Any]]:
        """Every price of Compute Engine's catalogue."""
        base = os.environ.get("MLBROKER_GCP_PRICES_URL", BILLING_URL).rstrip("/")
        for page in self._pages(f"{base}/v1/{COMPUTE_ENGINE}/skus?currencyCode=USD&pageSize=5000"):
            yield from page.get("skus", ())

    def regions(self) -> Iterator[Mapping[str, Any]]:
        """Every region of the project, with its quotas."""
        for page in self._compute("regions"):
            yield from page.get("items", ())

    def zonal(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Region and entry of what each zone offers of a kind, such as machineTypes."""
        for page in self._compute(f"aggregated/{kind}"):
            for zone, scoped in page.get("items", {}).items():
                region = zone.removeprefix("zones/").rsplit("-", 1)[0]
                for entry in scoped.get(kind, ()):
                    yield region, entry

    def _compute(self, path: str) -> Iterator[Mapping[str, Any]]:
        base = os.environ.get("MLBROKER_GCP_COMPUTE_URL", COMPUTE_URL).rstrip("/")
        project = urllib.parse.quote(self.project or "", safe="")
        return self._pages(f"{base}/compute/v1/projects/{project}/{path}?maxResults=500")

    def _pages(self, first: str) -> Iterator[Mapping[str, Any]]:
        def next_of(page: Mapping[str, Any]) -> str | None:
            token = page.get("nextPageToken")
            return f"{first}&pageToken={urllib.parse.quote(token, safe='')}" if token else None

        return follow(first, lambda url: self._http.json(url, self._headers), next_of, "gcp")


def _credentials() -> dict[str, str]:
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
        raise FeedError(
            "no API key is set, and without Google Cloud's library no login is found",
            where="gcp",
            hint=f"Set MLBROKER_GCP_API_KEY, or go without one. {how_to_install('gcp')}",
        ) from None
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
