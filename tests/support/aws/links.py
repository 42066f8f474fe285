"""Signed links to S3: whether whoever they name as their signer signed them, and how long ago."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from tests.support.aws.request import Request

from mlbroker.broker.clouds.aws.guest_sigv4 import UNSIGNED, encoded_path, encoded_query

_SECRETS = {"launcher": "loopback", "owner": "loopback"}


def is_forged(request: Request) -> bool:
    """Or too old, by the time that this computer has: its links are signed in that."""
    if not request.is_link:
        return False
    query = request.query
    stamp, scope = query["X-Amz-Date"], query["X-Amz-Credential"].partition("/")[2]
    signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if datetime.now(UTC) > signed_at + timedelta(seconds=int(query["X-Amz-Expires"])):
        return True
    asked = [(name, value) for name, value in query.items() if name != "X-Amz-Signature"]
    host = f"host:{request.environ['HTTP_HOST']}\n"
    text = "\n".join(
        [request.method, encoded_path(request.path), encoded_query(asked), host, "host", UNSIGNED]
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    key = ("AWS4" + _SECRETS.get(request.key, "")).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return not hmac.compare_digest(signature, query["X-Amz-Signature"])
