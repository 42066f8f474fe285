"""Our signatures are those of AWS's own library."""

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.clouds.aws.guest_sigv4 import Credentials, encoded_path, encoded_query, sign

NOW = datetime(2026, 11, 24, 12, 34, 56, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def theirs(
    method: str, path: str, query: list[tuple[str, str]], service: str, token: str | None
) -> str:
    url = f"https://host.amazonaws.com{encoded_path(path)}"
    if query:
        url += "?" + encoded_query(query)
    request = AWSRequest(method=method, url=url, data=b"")
    request.headers["X-Amz-Content-SHA256"] = EMPTY
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        TheirCredentials("AKID", "secret", token), service, "eu-west-1"
    )
    with patch("botocore.auth.get_current_datetime", return_value=NOW):
        auth.add_auth(request)
    return str(request.headers["Authorization"])


def ours(
    method: str, path: str, query: list[tuple[str, str]], service: str, token: str | None
) -> str:
    credentials = Credentials("AKID", "secret", token)
    return sign(
        method, "host.amazonaws.com", path, query, {}, EMPTY, service, "eu-west-1",
        credentials, NOW,
    )["authorization"]  # fmt: skip


@pytest.mark.parametrize("token", [None, "session-token"])
@pytest.mark.parametrize(
    ("method", "path", "query", "service"),
    [
        ("GET", "/runs/mlb-1/spec.json", [], "s3"),
        ("PUT", "/bucket/runs/a b+c/ü.tar", [], "s3"),
        ("POST", "/key", [("uploads", "")], "s3"),
        ("PUT", "/key", [("partNumber", "12"), ("uploadId", "a/b+c=")], "s3"),
        ("POST", "/", [], "ssm"),
    ],
)
def test_the_same_signature(
    method: str, path: str, query: list[tuple[str, str]], service: str, token: str | None
) -> None:
    assert ours(method, path, query, service, token) == theirs(method, path, query, service, token)


@given(st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text and text not in "..."))
def test_any_name_is_encoded_once(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    assert encoded_path("/" + name) == "/" + quote(name, safe="-_.~")
