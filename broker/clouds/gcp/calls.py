"""Google Cloud's programming interface, with its many errors turned into the few a run knows."""

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

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
    from obstore.store import GCSConfig

STORAGE = "https://storage.googleapis.com"
SECRETS = "https://secretmanager.googleapis.com/"
TIMEOUT_S = 30.0
# Reads are repeated for so long by themselves; what changes something is left to the run.
READ_AGAIN_S = 20.0
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_SIGN_IN = "Sign in to Google Cloud again: gcloud auth application-default login"
_QUOTAS = "Ask Google for a larger quota (IAM & Admin, Quotas & System Limits)."
_ROLES = "`mlbroker doctor --cloud gcp` prints the permissions that are needed."
_NO_SEATS = (
    "Apply what `mlbroker init --cloud gcp` writes, again where the region was set up by an older "
    "mlbroker: each run's machines have an account of their own."
)
_TOO_FAST = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_NO_QUOTA = frozenset({"quotaExceeded", "QUOTA_EXCEEDED", "QUOTA_EXCEEDED_WITH_DETAILS"})
_NO_CAPACITY = frozenset(
    {
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "REGION_RESOURCE_POOL_EXHAUSTED",
        "RESOURCE_POOL_EXHAUSTED",
        "STOCKOUT",
        "resourcePoolExhausted",
        # The machine was not made for reasons of Google's own: another zone may do better.
        "INTERNAL_ERROR",
    }
)
# A no to a type, or to what follows from it in the request: other types may be had. The words are
# Compute Engine's, as public code meets them; the fields are those that the type decides.
_UNFIT = re.compile(
    r"features are not compatible for creating instance"
    r"|machine type is unsupported"
    r"|do not support (onHostMaintenance|live migration)"
    r"|field 'resource\.(instanceProperties\.)?(machineType|disks\b|guestAccelerators"
    r"|shieldedInstanceConfig|networkInterfaces\[0\]\.nicType"
    r"|scheduling\.(onHostMaintenance|provisioningModel))"
)
_NOT_IN_THIS_ZONE = re.compile(r"/zones/[^/]+/(machine|accelerator|disk)Types/\S+' was not found")


class Calls:
    """Clients of the user's project, one of each kind, made when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        # By bucket: to open one takes longer than to ask it.
        self._stores: dict[str, Any] = {}

    @cached_property
    def _signed_in(self) -> tuple[Any, str]:
        with library("gcp"):
            import google.auth
            from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

            if find_spec(name := "google.cloud.compute_v1") is None:
                raise ImportError(name=name)
        try:
            credentials, project = google.auth.default(scopes=_SCOPES)
        except DefaultCredentialsError:
            raise Denied(
                "no credentials found",
                where="gcp",
                hint="Sign in: gcloud auth application-default login",
            ) from None
        except GoogleAuthError as error:
            raise Denied(one_line(error), where="gcp", hint=_SIGN_IN) from None
        if not project:
            raise Denied(
                "no project is set",
                where="gcp",
                hint="Name it: export GOOGLE_CLOUD_PROJECT=…, or `gcloud config set project …`.",
            )
        return credentials, str(project)

    @property
    def credentials(self) -> Any:
        """The user's credentials, found as every tool of Google's finds them."""
        return self._signed_in[0]

    @property
    def project(self) -> str:
        """The project that machines are made in."""
        return self._signed_in[1]

    def client(self, kind: str) -> Any:
        """A client of Compute Engine: `Instances`, `ZoneOperations` …"""
        with self._lock:
            if kind not in self._clients:
                # The library takes three seconds to import.
                from google.cloud import compute_v1

                where = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE")
                options = {"api_endpoint": _origin(where)} if where else {}
                self._clients[kind] = getattr(compute_v1, f"{kind}Client")(
                    credentials=self.credentials, client_options=options
                )
            return self._clients[kind]

    @cached_property
    def session(self) -> Any:
        """For the services that are asked in plain JSON."""
        from google.auth.transport import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        sessions: Any = requests.AuthorizedSession
        session = sessions(self.credentials)
        again = Retry(
            total=4,
            backoff_factor=0.2,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "DELETE"),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        return session

    @cached_property
    def reading(self) -> Mapping[str, Any]:
        """How calls are made that change nothing."""
        from google.api_core.exceptions import (
            DeadlineExceeded,
            InternalServerError,
            ServiceUnavailable,
            TooManyRequests,
        )
        from google.api_core.retry import Retry, if_exception_type
        from requests.exceptions import ConnectionError, Timeout

        again = if_exception_type(
            ConnectionError, DeadlineExceeded, InternalServerError, ServiceUnavailable, Timeout,
            TooManyRequests,
        )  # fmt: skip
        retry = Retry(predicate=again, initial=0.2, maximum=2.0, timeout=READ_AGAIN_S)
        return {"retry": retry, "timeout": TIMEOUT_S}

    def ask(self, method: str, url: str, where: str, **wanted: Any) -> dict[str, Any]:
        """One call in plain JSON; the answer, or the error that it stands for."""
        found, _ = self._asked(method, url, where, wanted)
        return found

    def clock(self) -> datetime:
        """What time it is at Google's."""
        wanted = {"params": {"project": self.project, "maxResults": "1"}}
        _, headers = self._asked("GET", f"{storage_url()}/storage/v1/b", "gcp", wanted)
        return parsedate_to_datetime(headers["Date"])

    def _asked(
        self, method: str, url: str, where: str, wanted: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        with translated(where):
            answer = self.session.request(method, url, timeout=TIMEOUT_S, **wanted)
            try:
                found = answer.json() if answer.content else {}
            except ValueError:
                found = {}
        if answer.ok:
            return dict(found), answer.headers
        error = found.get("error") if isinstance(found, dict) else None
        error = error if isinstance(error, dict) else {}
        message = str(error.get("message") or answer.reason)
        raise translate(answer.status_code, _reasons(error.get("errors", [])), message, where)

    def store(self, bucket: str) -> Any:
        """The bucket, through obstore."""
        from obstore.store import GCSStore

        endpoint = os.environ.get("STORAGE_EMULATOR_HOST")
        config: GCSConfig = {"base_url": endpoint} if endpoint else {}
        if bucket not in self._stores:
            self._stores[bucket] = GCSStore(
                bucket,
                config=config,
                credential_provider=self._token,
                client_options={"allow_http": endpoint is not None, "timeout": "60s"},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            )
        return self._stores[bucket]

    def _token(self) -> Any:
        """An access token with its end, as obstore wants it."""
        from google.auth.transport.requests import Request

        credentials = self.credentials
        with self._lock:
            if not credentials.valid:
                credentials.refresh(Request())
        expiry = credentials.expiry
        until = expiry.replace(tzinfo=UTC) if expiry else datetime.now(UTC) + timedelta(minutes=5)
        return {"token": credentials.token, "expires_at": until}


def storage_url() -> str:
    """Where Cloud Storage is asked."""
    return (os.environ.get("STORAGE_EMULATOR_HOST") or STORAGE).rstrip("/")


def secrets_url() -> str:
    """Where Secret Manager is asked."""
    where = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or SECRETS
    return where.rstrip("/") + "/v1/"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what the libraries raise into a CloudError that says what to do."""
    with library("gcp"):
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
        from requests.exceptions import RequestException

    try:
        yield
    except GoogleAPICallError as error:
        raise _translate_call(error, where) from None
    except RetryError as error:
        if isinstance(error.cause, GoogleAPICallError):
            raise _translate_call(error.cause, where) from None
        raise Unclear(f"no answer: {one_line(error.cause or error)}", where=where) from None
    except RefreshError as error:
        if error.retryable:
            raise Unclear(one_line(error), where=where) from None
        raise Denied(one_line(error), where=where, hint=_SIGN_IN) from None
    except (TransportError, RequestException) as error:
        raise Unclear(f"no answer: {one_line(error)}", where=where) from None
    except GoogleAuthError as error:
        raise Denied(one_line(error), where=where, hint=_SIGN_IN) from None


def translate(status: int, reasons: Sequence[str], message: str, where: str) -> CloudError:
    """One of Google's errors as one of ours."""
    reason = next(iter(reasons), "")
    text = f"{reason}: {message}" if reason and reason not in message else message
    if any(r in _TOO_FAST for r in reasons) or status in (408, 429) or status >= 500:
        return Unclear(text, where=where)
    if any(r in _NO_QUOTA for r in reasons):
        return NoQuota(text, where=where, hint=_QUOTAS)
    if any(r in _NO_CAPACITY for r in reasons) or _NOT_IN_THIS_ZONE.search(message):
        return NoCapacity(text, where=where)
    if "UNSUPPORTED_OPERATION" in reasons or _UNFIT.search(message):
        return Unfit(text, where=where)
    hint = {401: _SIGN_IN, 403: _ROLES}.get(status)
    if "of type 'serviceAccount' was not found" in message:
        hint = _NO_SEATS
    if "has not been used in project" in message or "accessNotConfigured" in reasons:
        hint = "Switch the API on: `mlbroker init --cloud gcp` writes what the project needs once."
    return Denied(text, where=where, hint=hint)


def failed(error: Any, where: str) -> CloudError:
    """Why an operation came to nothing: what it began is not there."""
    errors = list(error.errors)
    codes = [str(one.code) for one in errors]
    message = "; ".join(str(one.message) for one in errors) or "the operation failed"
    return translate(400, codes, message, where)


def _translate_call(error: Any, where: str) -> CloudError:
    message = str(error.message).partition(": ")[2] or str(error.message)
    return translate(int(error.code or 0), _reasons(error.errors), message, where)


def _reasons(errors: Sequence[Any]) -> list[str]:
    return [str(e["reason"]) for e in errors if isinstance(e, dict) and e.get("reason")]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
