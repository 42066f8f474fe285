"""Cloud Storage as far as it is used: the XML API for objects, one JSON call for buckets."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape

from tests.support.gcp.catalog import PROJECT, REGIONS
from tests.support.gcp.discovery import found
from tests.support.loopback_http import Answer, TokenRequest

XML = [("Content-Type", "application/xml; charset=UTF-8")]
_PART = re.compile(r"<PartNumber>(\d+)</PartNumber>")


class Storage:
    """All buckets of the project, by name; objects by key."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {
            f"mlbroker-{PROJECT}-{region}": {} for region in REGIONS
        }
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._generations: dict[tuple[str, str], int] = {}

    @staticmethod
    def action(request: TokenRequest) -> str:
        """The permission-like name of what is asked."""
        if request.path.startswith("/storage/v1/"):
            return "storage.buckets.list"
        whole = request.path.strip("/").count("/") == 0
        if whole:
            return "storage.objects.list"
        names = {"GET": "get", "HEAD": "get", "DELETE": "delete"}
        return "storage.objects." + names.get(request.method, "create")

    def answer(self, request: TokenRequest, page: int) -> Answer:
        if request.path == "/storage/v1/b":
            prefix = request.query.get("prefix", "")
            names = [name for name in self.buckets if name.startswith(prefix)]
            return found({"kind": "storage#buckets", "items": [{"name": n} for n in names]})
        bucket, _, key = request.path.lstrip("/").partition("/")
        if bucket not in self.buckets:
            return _refused("404 Not Found", "NoSuchBucket", "The specified bucket does not exist.")
        objects = self.buckets[bucket]
        if not key:
            return self._listed(bucket, request, page)
        if "uploads" in request.query or "uploadId" in request.query:
            return self._in_parts(request, bucket, key)
        if request.method == "PUT":
            generation = self._generation(bucket, key)
            if request.header("x-goog-if-generation-match") not in (None, str(generation)):
                return _refused(
                    "412 Precondition Failed",
                    "PreconditionFailed",
                    "At least one of the pre-conditions you specified did not hold.",
                )
            objects[key] = request.body
            self._generations[bucket, key] = generation + 1
            now = ("x-goog-generation", str(generation + 1))
            return Answer("200 OK", [("ETag", _tag(request.body)), now])
        if key not in objects:
            return _refused("404 Not Found", "NoSuchKey", "The specified key does not exist.")
        if request.method == "DELETE":
            del objects[key]
            return Answer("204 No Content")
        return self._object(request, objects[key], self._generation(bucket, key))

    def _generation(self, bucket: str, key: str) -> int:
        """Which writing of an object is there; 0 for none."""
        there = key in self.buckets[bucket]
        return self._generations.get((bucket, key), 1) if there else 0

    def _object(self, request: TokenRequest, data: bytes, generation: int) -> Answer:
        # HEAD has to carry the same validators as GET: clients refuse objects without an ETag.
        headers = [
            ("ETag", _tag(data)),
            ("Last-Modified", "Tue, 24 Nov 2026 12:00:00 GMT"),
            ("x-goog-generation", str(generation)),
            ("Content-Type", "application/octet-stream"),
        ]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.header("range") or "")
        if wanted is None:
            return Answer("200 OK", headers, data)
        start, end = int(wanted.group(1)), int(wanted.group(2) or len(data) - 1)
        span = ("Content-Range", f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}")
        return Answer("206 Partial Content", [*headers, span], data[start : end + 1])

    def _listed(self, bucket: str, request: TokenRequest, page: int) -> Answer:
        prefix = request.query.get("prefix", "")
        objects = self.buckets[bucket]
        # A page begins after the last key of the one before, whatever was removed in between.
        after = request.query.get("continuation-token", "")
        keys = sorted(key for key in objects if key.startswith(prefix) and key > after)
        shown = keys[: min(page, int(request.query.get("max-keys", "1000")))]
        more = len(shown) < len(keys)
        token = (
            f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        )
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size>"
            f"<ETag>{escape(_tag(objects[key]))}</ETag>"
            "<LastModified>2026-11-24T12:00:00.000Z</LastModified></Contents>"
            for key in shown
        )
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://doc.s3.amazonaws.com/2006-03-01">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
        )
        return Answer("200 OK", XML, text.encode())

    def _in_parts(self, request: TokenRequest, bucket: str, key: str) -> Answer:
        if "uploads" in request.query:
            upload = f"upload-{len(self._uploads) + 1}"
            self._uploads[upload] = {}
            return _document(
                "InitiateMultipartUploadResult",
                f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>",
            )
        parts = self._uploads.get(request.query["uploadId"])
        if parts is None:
            return _refused("404 Not Found", "NoSuchUpload", "There is no such upload.")
        if request.method == "PUT":
            parts[int(request.query["partNumber"])] = request.body
            return Answer("200 OK", [("ETag", _tag(request.body))])
        if request.method == "DELETE":
            del self._uploads[request.query["uploadId"]]
            return Answer("204 No Content")
        numbers = [int(number) for number in _PART.findall(request.body.decode())]
        data = b"".join(parts[number] for number in numbers)
        self.buckets[bucket][key] = data
        return _document(
            "CompleteMultipartUploadResult",
            f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><ETag>{escape(_tag(data))}</ETag>",
        )

    def stored(self) -> Iterable[tuple[str, str]]:
        return ((bucket, key) for bucket, objects in self.buckets.items() for key in objects)


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _document(name: str, inner: str) -> Answer:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return Answer("200 OK", XML, f'<{name} xmlns="{namespace}">{inner}</{name}>'.encode())


def _refused(status: str, code: str, message: str) -> Answer:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, XML, text.encode())


def refuse_xml(code: int, reason: str, message: str, headers: Any = ()) -> Answer:
    """An error as the XML API shapes it."""
    return _refused(f"{code} {reason}", reason, message)
