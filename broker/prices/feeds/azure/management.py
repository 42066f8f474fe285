"""Azure's management API, which needs a login: machine sizes and what a subscription may use."""

import os
import urllib.parse
from collections.abc import Mapping
from typing import Any

from mlbroker.broker.extras import how_to_install
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.answers import follow
from mlbroker.broker.prices.feeds.interface import FeedError

MANAGEMENT_URL = "https://management.azure.com"


class Management:
    """Lists of the resource provider Microsoft.Compute, of one subscription."""

    def __init__(self, subscription: str, http: Http) -> None:
        base = os.environ.get("MLBROKER_AZURE_MANAGEMENT_URL", MANAGEMENT_URL).rstrip("/")
        quoted = urllib.parse.quote(subscription, safe="")
        self._root = f"{base}/subscriptions/{quoted}/providers/Microsoft.Compute"
        self._headers = {"Authorization": f"Bearer {access_token()}"}
        self._http = http

    @classmethod
    def connect(cls, http: Http) -> "Management | None":
        """None without `AZURE_SUBSCRIPTION_ID`."""
        subscription = os.environ.get("AZURE_SUBSCRIPTION_ID")
        return cls(subscription, http) if subscription else None

    def skus(self) -> list[Mapping[str, Any]]:
        """Every machine size, once for each region."""
        return self._entries("skus?api-version=2021-07-01")

    def usages(self, region: str) -> list[Mapping[str, Any]]:
        """What is allowed and used in a region."""
        return self._entries(f"locations/{region}/usages?api-version=2023-03-01")

    def _entries(self, path: str) -> list[Mapping[str, Any]]:
        def fetch(url: str) -> Mapping[str, Any]:
            return self._http.json(url, self._headers)

        pages = follow(f"{self._root}/{path}", fetch, lambda page: page.get("nextLink"), "azure")
        return [entry for page in pages for entry in page["value"]]


def access_token() -> str:
    """A token for Azure's management API: `AZURE_ACCESS_TOKEN`, else the user's own login."""
    given = os.environ.get("AZURE_ACCESS_TOKEN")
    if given:
        return given
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise FeedError(
            "Azure's library is not installed", where="azure", hint=how_to_install("azure")
        ) from None
    try:
        token = DefaultAzureCredential().get_token("https://management.azure.com/.default")
    except AzureError as error:
        raise FeedError(
            f"the credentials are refused or expired: {str(error).splitlines()[0]}",
            where="azure",
            hint="Sign in again: az login.",
        ) from None
    return str(token.token)
