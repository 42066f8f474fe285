"""Blob storage as far as it is used: block blobs in one container of each account."""

import hashlib
import re
from typing import Any
from xml.sax.saxutils import escape

from tests.support.azure.catalog import REGIONS, SUBSCRIPTION
from tests.support.loopback_http import Answer, TokenRequest

from mlbroker.broker.clouds.azure.names import NAME, Names

XML = [("Content-Type", "application/xml")]
PREFIX = "/storage/"
_NAMES = {"GET": "read", "HEAD": "read", "DELETE": "delete"}
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_WHEN = "Tue, 24 Nov 2026 12:00:00 GMT"


class Blobs:
    """The containers of all accounts, by the account's name."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, bytes]] = {
            Names(SUBSCRIPTION, region).account: {} for region in REGIONS
        }
        self._blocks: dict[tuple[str, str, str], bytes] = {}

    @staticmethod
    def action(request: TokenRequest) -> str:
        """The right that is asked for."""
        if request.query.get("comp") == "batch":
            return f"{_BLOBS}/delete"
        return f"{_BLOBS}/{_NAMES.get(request.method, 'write')}"

    def answer(self, request: TokenRequest) -> Answer:
        account, _, rest = request.path.removeprefix(PREFIX).partition("/")
        container, _, key = rest.partition("/")
        if account not in self.accounts or container != NAME:
            return refuse_xml(404, "ContainerNotFound", "The specified container does not exist.")
        blobs = self.accounts[account]
        if request.query.get("comp") == "batch":
            return self._batch(request, blobs, f"/{NAME}/")
        if not key:
            return self._listed(request, blobs)
        if request.method == "PUT":
            return self._put(request, account, key)
        if key not in blobs:
            return refuse_xml(404, "BlobNotFound", "The specified blob does not exist.")
        if request.method == "DELETE":
            del blobs[key]
            return Answer("202 Accepted")
        return _content(request, blobs[key])

    def _put(self, request: TokenRequest, account: str, key: str) -> Answer:
        what = request.query.get("comp")
        blobs = self.accounts[account]
        if what == "block":
            self._blocks[account, key, request.query["blockid"]] = request.body
            return Answer("201 Created")
        if what == "blocklist":
            names = re.findall(r"<(?:Latest|Uncommitted)>([^<]*)<", request.body.decode())
            missing = [n for n in names if (account, key, n) not in self._blocks]
            if missing:
                return refuse_xml(400, "InvalidBlockList", "The block list is invalid.")
            blobs[key] = b"".join(self._blocks.pop((account, key, name)) for name in names)
            return Answer("201 Created", [("ETag", _tag(blobs[key])), ("Last-Modified", _WHEN)])
        if request.header("x-ms-blob-type") != "BlockBlob":
            return refuse_xml(400, "MissingRequiredHeader", "x-ms-blob-type is required.")
        if request.header("if-none-match") == "*" and key in blobs:
            return refuse_xml(409, "BlobAlreadyExists", "The specified blob already exists.")
        wanted = request.header("if-match")
        if wanted is not None and (key not in blobs or wanted != _tag(blobs[key])):
            return refuse_xml(412, "ConditionNotMet", "The condition was not met.")
        blobs[key] = request.body
        return Answer("201 Created", [("ETag", _tag(request.body)), ("Last-Modified", _WHEN)])

    def _listed(self, request: TokenRequest, blobs: dict[str, bytes]) -> Answer:
        """Half of a list, and where the other half begins: no list comes whole."""
        prefix, begin = request.query.get("prefix", ""), request.query.get("marker", "")
        keys = sorted(key for key in blobs if key.startswith(prefix) and key >= begin)
        half = len(keys) if begin else (len(keys) + 1) // 2
        more = escape(keys[half]) if half < len(keys) else ""
        items = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{_WHEN}</Last-Modified>"
            f"<Etag>{escape(_tag(blobs[key]))}</Etag><Content-Length>{len(blobs[key])}"
            "</Content-Length><Content-Type>application/octet-stream</Content-Type>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for key in keys[:half]
        )
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ContainerName="{NAME}"><Prefix>{escape(prefix)}</Prefix>'
            f"<Blobs>{items}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>"
        )
        return Answer("200 OK", XML, text.encode())

    def _batch(self, request: TokenRequest, blobs: dict[str, bytes], prefix: str) -> Answer:
        """Many deletions in one request, each with an answer of its own."""
        text = request.body.decode()
        parts = []
        asked = re.findall(r"Content-ID: ?(\d+)[\s\S]*?DELETE (\S+) HTTP", text)
        for number, path in asked:
            key = path.partition(prefix)[2]
            gone = blobs.pop(key, None)
            status = "202 Accepted" if gone is not None else "404 Not Found"
            more = "" if gone is not None else "x-ms-error-code: BlobNotFound\r\n"
            parts.append(
                "--batchresponse\r\nContent-Type: application/http\r\n"
                f"Content-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n{more}"
                "x-ms-request-id: 1\r\nx-ms-version: 2021-12-02\r\n\r\n"
            )
        body = "".join(parts) + "--batchresponse--\r\n"
        kind = ("Content-Type", "multipart/mixed; boundary=batchresponse")
        return Answer("202 Accepted", [kind], body.encode())


def _content(request: TokenRequest, data: bytes) -> Answer:
    headers = [
        ("ETag", _tag(data)),
        ("Last-Modified", _WHEN),
        ("Content-Type", "application/octet-stream"),
        ("x-ms-blob-type", "BlockBlob"),
    ]
    span = request.header("x-ms-range") or request.header("range") or ""
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", span)
    if wanted is None:
        return Answer("200 OK", headers, data)
    start, end = int(wanted.group(1)), int(wanted.group(2) or len(data) - 1)
    where = ("Content-Range", f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}")
    return Answer("206 Partial Content", [*headers, where], data[start : end + 1])


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def refuse_xml(status: int, code: str, message: str, *_: Any) -> Answer:
    """An error as storage shapes it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(f"{status} {code}", [*XML, ("x-ms-error-code", code)], text.encode())
