"""Signs a machine's own requests to AWS (Signature Version 4) with the standard library alone."""

import hashlib
import hmac
from datetime import datetime
from typing import Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"


class Credentials(NamedTuple):
    """Temporary ones have a token."""

    key: str
    secret: str
    token: Optional[str] = None


def sign(
    method: str,
    host: str,
    path: str,
    query: List[Tuple[str, str]],
    headers: Dict[str, str],
    body_sha256: str,
    service: str,
    region: str,
    credentials: Credentials,
    now: datetime,
) -> Dict[str, str]:
    """The headers to send: those given, and the ones that prove who asks. `path` is not encoded."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed.update({"host": host, "x-amz-date": stamp, "x-amz-content-sha256": body_sha256})
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(signed))
    request = "\n".join(
        [
            method,
            encoded_path(path),
            encoded_query(query),
            "".join("{}:{}\n".format(name, signed[name]) for name in sorted(signed)),
            names,
            body_sha256,
        ]
    )
    scope = "/".join([stamp[:8], region, service, "aws4_request"])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, _sha256(request.encode())])
    key = ("AWS4" + credentials.secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (
        "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}".format(
            credentials.key, scope, names, signature
        )
    )
    return signed


def encoded_path(path: str) -> str:
    """As S3 wants it: everything but unreserved characters and slashes is encoded once."""
    return quote(path, safe="/-_.~")


def encoded_query(query: List[Tuple[str, str]]) -> str:
    """Sorted by name; a name without value keeps its equals sign."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return "&".join("{}={}".format(name, value) for name, value in pairs)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
