"""Azure's programming interface, with its many errors turned into the four a run knows."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from mlbroker.broker.clouds.azure.names import NAME
from mlbroker.broker.clouds.interface import (
    Denied,
    NoCapacity,
    NoQuota,
    Unclear,
    Unfit,
    one_line,
)
from mlbroker.broker.clouds.library import library
from mlbroker.broker.errors import CloudError

if TYPE_CHECKING:
    from obstore.store import AzureConfig

MANAGEMENT = "https://management.azure.com"
VAULTS = "https://{}.vault.azure.net"
STORAGE_SCOPE = "https://storage.azure.com/.default"
VAULT_SCOPE = "https://vault.azure.net/.default"
# How long something that Azure does by and by is waited for.
WAIT_S = 300.0
POLL_S = 5.0
TIMEOUT_S = 30.0
# A token is renewed this long before it expires.
_MARGIN_S = 300.0
_SIGN_IN = "Sign in to Azure again: az login"
_ROLES = "`mlbroker doctor --cloud azure --policies` prints the permissions that are needed."
_QUOTAS = "Ask Azure for a larger quota (Quotas, in the portal)."
_NO_CAPACITY = frozenset(
    {
        "AllocationFailed",
        "ZonalAllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
        "SkuNotAvailable",
        # The machine was not made for reasons of Azure's own: another zone may do better.
        "InternalExecutionError",
        "OSProvisioningTimedOut",
    }
)
_NO_QUOTA = frozenset({"QuotaExceeded", "ResourceQuotaExceeded"})
_AGAIN = frozenset({"AnotherOperationInProgress", "RetryableError", "RetryableErrorDueTo"})
# The terms of an image's plan, which nobody accepted for the subscription.
_NOT_ACCEPTED = frozenset(
    {"ResourcePurchaseValidationFailed", "MarketplacePurchaseEligibilityFailed"}
)
TERMS = "Accept the terms of the image's plan once: az vm image terms accept"
_NO_PLAN = (
    "The image was made from one of the Marketplace, and does not tell its plan. Keep it in a "
    "compute gallery whose definition does: az sig image-definition create --plan-name …"
)
# There is no such image, or no such zone, in this region.
_NOT_HERE = frozenset(
    {
        "PlatformImageNotFound",
        "ImageNotFound",
        "GalleryImageNotFound",
        "InvalidAvailabilityZone",
        "LocationNotAvailableForResourceType",
    }
)
# "… the provided max price '0.01 USD' is lower than the current spot price '0.02 USD' …": the
# price has risen since (aka.ms/AzureSpot/errormessages).
_PRICE_ROSE = re.compile(r"\bmax price\b.*\blower than\b", re.IGNORECASE)
# A no to a size, or to this image on it, in Azure's words: other sizes may be had.
_UNFIT = re.compile(
    r"cannot boot Hypervisor Generation|CPU Architecture|VM size '?[\w-]+'? (is not supported|does "
    r"not support)|is not supported for creation of VMs|size [\w-]+ is not available"
)
_QUOTA_WORDS = re.compile(r"\bquota\b", re.IGNORECASE)
_RETRIES = {"retry_total": 4, "retry_backoff_factor": 0.2, "retry_backoff_max": 4}


class Calls:
    """Clients of the user's subscription, one of each kind, made when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}
        # By account: to open one takes longer than to ask it.
        self._stores: dict[str, Any] = {}
        self.skus: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def subscription(self) -> str:
        """The subscription that machines are made in."""
        found = os.environ.get("AZURE_SUBSCRIPTION_ID")
        if not found:
            raise Denied(
                "no subscription is set",
                where="azure",
                hint="Name it: export AZURE_SUBSCRIPTION_ID=… (`az account show` tells it).",
            )
        if re.fullmatch(r"[0-9A-Fa-f-]{36}", found) is None:
            raise Denied(f"not a subscription: {found!r}", where="AZURE_SUBSCRIPTION_ID")
        return found

    @cached_property
    def _credential(self) -> Any:
        with library("azure"):
            from azure.identity import DefaultAzureCredential
        return DefaultAzureCredential()

    def token(self, scope: str) -> tuple[str, float]:
        """An access token for one of Azure's services, and until when it is good."""
        given = os.environ.get("AZURE_ACCESS_TOKEN")
        if given and scope == f"{MANAGEMENT}/.default":
            return given, time.time() + 2 * _MARGIN_S
        with self._lock:
            token, until = self._tokens.get(scope, ("", 0.0))
            if time.time() >= until - _MARGIN_S:
                found = self._credential.get_token(scope)
                token, until = found.token, float(found.expires_on)
                self._tokens[scope] = token, until
            return token, until

    @cached_property
    def compute(self) -> Any:
        """Machines and what they are made of."""
        return self._client("compute", "ComputeManagementClient")

    @cached_property
    def resources(self) -> Any:
        """Resource groups."""
        return self._client("resource.resources", "ResourceManagementClient")

    @cached_property
    def network(self) -> Any:
        """Subnets and security groups."""
        return self._client("network", "NetworkManagementClient")

    def _needs_library(self) -> None:
        with library("azure"):
            import azure.mgmt.compute  # noqa: F401  # only whether it is there

    def _client(self, package: str, kind: str) -> Any:
        self._needs_library()
        return getattr(import_module(f"azure.mgmt.{package}"), kind)(
            # The library insists on one; the policy below is what signs.
            self,
            self.subscription,
            management_url(),
            credential_scopes=[f"{MANAGEMENT}/.default"],
            authentication_policy=_Bearer(lambda: self.token(f"{MANAGEMENT}/.default")[0]),
            polling_interval=POLL_S,
            connection_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            **_RETRIES,
        )

    def clock(self) -> datetime:
        """What time it is at Azure."""
        with translated("azure"):
            from azure.core.rest import HttpRequest

            path = f"/subscriptions/{self.subscription}/resourcegroups"
            url = f"{management_url()}{path}?api-version=2024-07-01&$top=1"
            answer = self.resources.send_request(HttpRequest("GET", url))
            answer.raise_for_status()
            return parsedate_to_datetime(answer.headers["Date"])

    def ask(
        self, method: str, path: str, version: str, where: str, body: object = None, **query: str
    ) -> dict[str, Any] | None:
        """One call to a service that has no client here; None where there is no such thing."""
        wanted = urlencode({"api-version": version, **query})
        url = f"{management_url()}{path}?{wanted}"
        return self._send(lambda r: self.resources.send_request(r), method, url, where, body)

    def ask_all(self, path: str, version: str, where: str, **query: str) -> Iterator[Any]:
        """The entries of a list, however many pages it has."""
        while True:
            page = self.ask("GET", path, version, where, **query) or {}
            yield from page.get("value", ())
            if not page.get("nextLink"):
                return
            # Asked of the same place, whatever host the link names.
            query = dict(parse_qsl(urlsplit(page["nextLink"]).query))
            query.pop("api-version", None)

    def ask_vault(
        self, method: str, vault: str, path: str, body: object = None
    ) -> dict[str, Any] | None:
        """One call to a key vault."""
        url = f"{vault_url(vault)}/{path}?api-version=7.4"
        return self._send(self._vaults.send_request, method, url, f"key vault {vault}", body)

    @cached_property
    def _vaults(self) -> Any:
        self._needs_library()
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import RetryPolicy

        return PipelineClient(
            "",
            policies=[RetryPolicy(**_RETRIES), _Bearer(lambda: self.token(VAULT_SCOPE)[0])],
            connection_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
        )

    def _send(
        self, send: Callable[[Any], Any], method: str, url: str, where: str, body: object
    ) -> dict[str, Any] | None:
        with translated(where):
            from azure.core.rest import HttpRequest

            request = HttpRequest(method, url, json=body) if body else HttpRequest(method, url)
            answer = send(request)
            if answer.status_code == 404 and method in ("GET", "DELETE"):
                return None
            answer.raise_for_status()
            found = json.loads(answer.content or b"{}")
        return dict(found)

    def store(self, account: str) -> Any:
        """The container of a storage account, through obstore."""
        self._needs_library()
        from obstore.store import AzureStore

        endpoint = os.environ.get("MLBROKER_AZURE_STORAGE_URL")
        config: AzureConfig = {"account_name": account, "container_name": NAME}
        if endpoint:
            config["endpoint"] = f"{endpoint.rstrip('/')}/{account}"
        if account not in self._stores:
            self._stores[account] = AzureStore(
                config=config,
                credential_provider=self._storage_token,
                client_options={"allow_http": endpoint is not None, "timeout": "60s"},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            )
        return self._stores[account]

    def _storage_token(self) -> Any:
        token, until = self.token(STORAGE_SCOPE)
        return {"token": token, "expires_at": datetime.fromtimestamp(until, UTC)}


class _Bearer:
    """Sets the header. The library's own policy does it on TLS alone, which a loopback has not."""

    def __init__(self, token: Callable[[], str]) -> None:
        self.next: Any = None
        self._token = token

    def send(self, request: Any) -> Any:
        """Pass the request on, signed."""
        request.http_request.headers["Authorization"] = f"Bearer {self._token()}"
        return self.next.send(request)


def management_url() -> str:
    """Where Azure Resource Manager is asked."""
    return os.environ.get("MLBROKER_AZURE_MANAGEMENT_URL", MANAGEMENT).rstrip("/")


def vault_url(vault: str) -> str:
    """Where a key vault is asked."""
    own = os.environ.get("MLBROKER_AZURE_VAULT_URL")
    return f"{own.rstrip('/')}/{vault}" if own else VAULTS.format(vault)


def done(poller: Any, what: str, where: str) -> Any:
    """Wait for what Azure does by and by, and give, or raise, what became of it."""
    poller.wait(WAIT_S)
    if not poller.done():
        raise Unclear(f"{what} does not come to an end", where=where)
    return poller.result()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what the libraries raise into a CloudError that says what to do."""
    with library("azure"):
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            HttpResponseError,
        )

    try:
        yield
    except ClientAuthenticationError as error:
        raise Denied(one_line(error.message), where=where, hint=_SIGN_IN) from None
    except HttpResponseError as error:
        code, message = _said(error)
        raise translate(int(error.status_code or 0), code, message, where) from None
    except AzureError as error:
        raise Unclear(f"no answer: {one_line(error.message)}", where=where) from None


def translate(status: int, code: str, message: str, where: str) -> CloudError:
    """One of Azure's errors as one of ours."""
    text = f"{code}: {one_line(message)}" if code and code not in message else one_line(message)
    if status in (408, 429) or status >= 500 or code in _AGAIN:
        return Unclear(text, where=where)
    if code in _NO_CAPACITY:
        return NoCapacity(text, where=where)
    # Azure calls several things not allowed; only its text tells which.
    if code in _NO_QUOTA or (code == "OperationNotAllowed" and _QUOTA_WORDS.search(message)):
        return NoQuota(text, where=where, hint=_QUOTAS)
    if _PRICE_ROSE.search(message):
        return NoCapacity(text, where=where)
    if code in _NOT_HERE or _UNFIT.search(message):
        return Unfit(text, where=where)
    hints = {**dict.fromkeys(_NOT_ACCEPTED, TERMS), "VMMarketplaceInvalidInput": _NO_PLAN}
    hint = hints.get(code) or {401: _SIGN_IN, 403: _ROLES}.get(status)
    return Denied(text, where=where, hint=hint)


def _said(error: Any) -> tuple[str, str]:
    told = getattr(error, "error", None)
    if told is not None and told.code:
        details = [d for d in told.details or () if d.code in _NO_CAPACITY | _NO_QUOTA]
        first = details[0] if details else told
        return str(first.code), str(first.message or told.message)
    try:
        body = json.loads(error.response.text())["error"]
        return str(body["code"]), str(body["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return "", str(error.message)
