"""What a machine on AWS asks for with its own identity: metadata, its bucket, its secrets."""

import hashlib
import http.client
import json
import os
import re
import time
from datetime import datetime, timezone
from typing import Any, BinaryIO, Dict, List, Optional, Tuple, Union
from urllib.parse import urlsplit

from .sigv4 import UNSIGNED, Credentials, encoded_path, encoded_query, sign

METADATA = "http://169.254.169.254"
TRIES = 5
TIMEOUT_S = 30
# S3 takes at most 5 GB in one request.
WHOLE_BYTES = 256 << 20
PART_BYTES = 128 << 20
_CHUNK = 1 << 20

Body = Union[bytes, BinaryIO]
Answer = Tuple[int, Dict[str, str], bytes]


class AwsError(OSError):
    """AWS said no."""


class Metadata:
    """The instance metadata service, version 2."""

    def __init__(self) -> None:
        endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA
        self._endpoint = urlsplit(endpoint)
        self._token = ""
        self._token_until = 0.0
        self._credentials: Optional[Credentials] = None
        self._credentials_until = 0.0

    def get(self, path: str) -> Optional[str]:
        """A value of the metadata; None where there is none."""
        if time.monotonic() >= self._token_until:
            wanted = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            status, text = self._ask("PUT", "/latest/api/token", wanted)
            if status != 200:
                raise AwsError("the metadata service gives no token: {}".format(status))
            self._token, self._token_until = text, time.monotonic() + 21000
        headers = {"X-aws-ec2-metadata-token": self._token}
        status, text = self._ask("GET", "/latest/" + path, headers)
        if status == 404:
            return None
        if status != 200:
            raise AwsError("the metadata service answered {} to {}".format(status, path))
        return text

    def credentials(self) -> Credentials:
        """Those of the instance's role, renewed long before they expire."""
        if self._credentials is None or time.monotonic() >= self._credentials_until:
            base = "meta-data/iam/security-credentials/"
            role = (self.get(base) or "").split("\n")[0]
            found = json.loads(self.get(base + role) or "{}") if role else {}
            if not found.get("AccessKeyId"):
                raise AwsError("the machine has no role")
            self._credentials = Credentials(
                found["AccessKeyId"], found["SecretAccessKey"], found["Token"]
            )
            self._credentials_until = time.monotonic() + 600
        return self._credentials

    def interruption(self) -> Optional[str]:
        """What the vendor announced to do with this spot machine, when it did."""
        return self.get("meta-data/spot/instance-action")

    def _ask(self, method: str, path: str, headers: Dict[str, str]) -> Tuple[int, str]:
        where = self._endpoint
        connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=5)
        try:
            connection.request(method, where.path.rstrip("/") + path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


class Aws:
    """The bucket and the parameters of one region."""

    def __init__(self, region: str, bucket: str) -> None:
        self.metadata = Metadata()
        self._region = region
        self._bucket = bucket
        self._endpoint = os.environ.get("AWS_ENDPOINT_URL")

    def address(self) -> str:
        """Where the other machines of the run reach this one."""
        return self.metadata.get("meta-data/local-ipv4") or ""

    def rank(self) -> int:
        """Which machine of the run this is."""
        return int(self.metadata.get("meta-data/ami-launch-index") or 0)

    def interruption(self) -> Optional[str]:
        """What the vendor announced to do with this spot machine, when it did."""
        return self.metadata.interruption()

    def get(self, key: str) -> Optional[bytes]:
        """An object's content; None when there is no such object."""
        status, _, body = self._object("GET", key)
        if status == 404:
            return None
        return _right(status, body)

    def get_file(self, key: str, path: str) -> bool:
        """Copy an object into a file; False when there is no such object."""
        with open(path + ".part", "wb") as file:
            status, _, body = self._object("GET", key, into=file)
            file.flush()
            os.fsync(file.fileno())
        if status == 404:
            os.unlink(path + ".part")
            return False
        _right(status, body)
        os.replace(path + ".part", path)
        return True

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        status, _, body = self._object("PUT", key, data)
        _right(status, body)

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object, in parts when it is large."""
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            if size <= WHOLE_BYTES:
                status, _, body = self._object("PUT", key, file)
                _right(status, body)
                return
            status, _, body = self._object("POST", key, b"", [("uploads", "")])
            upload = _between(_right(status, body), "UploadId")
            parts = []
            for number in range(1, -(-size // PART_BYTES) + 1):
                query = [("partNumber", str(number)), ("uploadId", upload)]
                data = file.read(PART_BYTES)
                status, headers, body = self._object("PUT", key, data, query)
                _right(status, body)
                parts.append((number, headers["etag"]))
        listed = "".join(
            "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>".format(*part)
            for part in parts
        )
        document = "<CompleteMultipartUpload>" + listed + "</CompleteMultipartUpload>"
        status, _, body = self._object("POST", key, document.encode(), [("uploadId", upload)])
        # A 200 may still carry an error: the answer begins before the parts are joined.
        if b"<Error>" in _right(status, body):
            raise AwsError(body.decode("utf-8", "replace")[:300])

    def secrets(self, path: str) -> Dict[str, str]:
        """The values kept below this path of the parameter store, by the last part of the name."""
        found: Dict[str, str] = {}
        token: Optional[str] = None
        while True:
            wanted: Dict[str, Any] = {"Path": path, "WithDecryption": True}
            if token:
                wanted["NextToken"] = token
            answer = self._ssm("GetParametersByPath", wanted)
            for entry in answer["Parameters"]:
                found[entry["Name"].rpartition("/")[2]] = entry["Value"]
            token = answer.get("NextToken")
            if not token:
                return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""
        for start in range(0, len(names), 10):
            batch = [path + "/" + name for name in names[start : start + 10]]
            self._ssm("DeleteParameters", {"Names": batch})

    def _ssm(self, action: str, wanted: Dict[str, Any]) -> Dict[str, Any]:
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": "AmazonSSM." + action,
        }
        url = self._endpoint or "https://ssm.{}.amazonaws.com".format(self._region)
        data = json.dumps(wanted).encode()
        status, _, body = self._send("POST", url, "/", [], headers, data, "ssm", None)
        answer: Dict[str, Any] = json.loads(_right(status, body))
        return answer

    def _object(
        self,
        method: str,
        key: str,
        body: Body = b"",
        query: Optional[List[Tuple[str, str]]] = None,
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        path = "/" + key
        if self._endpoint:
            url, path = self._endpoint, "/" + self._bucket + path
        else:
            url = "https://{}.s3.{}.amazonaws.com".format(self._bucket, self._region)
        return self._send(method, url, path, query or [], {}, body, "s3", into)

    def _send(
        self,
        method: str,
        url: str,
        path: str,
        query: List[Tuple[str, str]],
        headers: Dict[str, str],
        body: Body,
        service: str,
        into: Optional[BinaryIO],
    ) -> Answer:
        """One request, tried again when the other side fails or does not answer."""
        for attempt in range(TRIES):
            try:
                answer = self._once(method, url, path, query, headers, body, service, into)
                if answer[0] < 500 and answer[0] != 429:
                    return answer
                error: Exception = AwsError("AWS answered {}".format(answer[0]))
            except (OSError, http.client.HTTPException) as failure:
                error = failure
            if attempt < TRIES - 1:
                time.sleep(0.2 * 2**attempt)
        raise AwsError("{} {}: {}".format(method, path, error))

    def _once(
        self,
        method: str,
        url: str,
        path: str,
        query: List[Tuple[str, str]],
        headers: Dict[str, str],
        body: Body,
        service: str,
        into: Optional[BinaryIO],
    ) -> Answer:
        where = urlsplit(url)
        given = dict(headers)
        if isinstance(body, bytes):
            digest = hashlib.sha256(body).hexdigest()
        else:
            body.seek(0)
            digest = UNSIGNED
            given["content-length"] = str(os.fstat(body.fileno()).st_size)
        signed = sign(
            method,
            where.netloc,
            path,
            query,
            given,
            digest,
            service,
            self._region,
            self.metadata.credentials(),
            datetime.now(timezone.utc),
        )
        secure = where.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(where.hostname or "", where.port, timeout=TIMEOUT_S)
        try:
            target = encoded_path(path) + ("?" + encoded_query(query) if query else "")
            connection.request(method, target, body=body, headers=signed)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            if into is None or answer.status != 200:
                return answer.status, found, answer.read()
            into.seek(0)
            into.truncate()
            for chunk in iter(lambda: answer.read(_CHUNK), b""):
                into.write(chunk)
            if str(into.tell()) != found.get("content-length", str(into.tell())):
                raise AwsError("the answer was cut off")
            return answer.status, found, b""
        finally:
            connection.close()


def _right(status: int, body: bytes) -> bytes:
    if status not in (200, 204):
        raise AwsError("AWS answered {}: {}".format(status, body.decode("utf-8", "replace")[:300]))
    return body


def _between(body: bytes, name: str) -> str:
    found = re.search("<{0}>([^<]+)</{0}>".format(name).encode(), body)
    if not found:
        raise AwsError("AWS's answer has no " + name)
    return found.group(1).decode()
