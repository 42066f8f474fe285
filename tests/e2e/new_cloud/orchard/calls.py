"""Orchard's programming interface: JSON over HTTP, its errors turned into the four a run knows."""

import http.client
import json
import os
import urllib.error
import urllib.request
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds.interface import Denied, NoCapacity, NoQuota, Unclear
from mlbroker.broker.errors import CloudError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ORCHARD = "https://api.orchard.example"
TIMEOUT_S = 30
_ERRORS: dict[str, type[CloudError]] = {"sold_out": NoCapacity, "over_quota": NoQuota}


def ask(method: str, path: str, body: object = None) -> Any:
    """One call; None where there is no such thing."""
    return _sent(method, path, body)[0]


def clock() -> datetime:
    """What time it is at Orchard."""
    return parsedate_to_datetime(_sent("GET", "/regions", None)[1]["Date"])


def store(bucket: str) -> "ObjectStore":
    """A bucket, through obstore: Orchard speaks the protocol of Cloud Storage."""
    from obstore.store import GCSStore

    return GCSStore(
        bucket,
        config={"base_url": _endpoint()},
        credential_provider=lambda: {"token": _token(), "expires_at": None},
        client_options={"allow_http": True},
    )


def _sent(method: str, path: str, body: object) -> tuple[Any, Any]:
    request = urllib.request.Request(  # the address is ours
        _endpoint() + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {_token()}"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None, error.headers
        raise _translated(error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unclear(f"no answer: {error}", where="orchard") from None


def _translated(error: urllib.error.HTTPError) -> CloudError:
    try:
        said = json.load(error)
    except ValueError:
        said = {}
    text = f"{said.get('code', error.code)}: {said.get('message', error.reason)}"
    if error.code == 429 or error.code >= 500:
        return Unclear(text, where="orchard")
    return _ERRORS.get(said.get("code"), Denied)(text, where="orchard")


def _endpoint() -> str:
    return os.environ.get("MLBROKER_ORCHARD_URL", ORCHARD)


def _token() -> str:
    return os.environ.get("ORCHARD_TOKEN", "launcher-token")
