"""What a machine on AWS asks for with its own identity: metadata, its bucket, its secrets."""

import hashlib
import json
import os
import re
import time
from datetime import datetime, timezone
from typing import Any, BinaryIO, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from ...guest.vendor import Answer, Body, Refused, Vendor, metadata
from .guest_sigv4 import UNSIGNED, Credentials, encoded_path, encoded_query, sign

METADATA = "http://169.254.169.254"
# S3 takes at most 5 GB in one request.
WHOLE_BYTES = 256 << 20
PART_BYTES = 128 << 20


class Metadata:
    """The instance metadata service, version 2."""

    def __init__(self) -> None:
        endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA
        self._base = endpoint.rstrip("/") + "/latest/"
        self._token = ""
        self._token_until = 0.0
        self._credentials: Optional[Credentials] = None
        self._credentials_until = 0.0

    def get(self, path: str) -> Optional[str]:
        """A value of the metadata; None where there is none."""
        if time.monotonic() >= self._token_until:
            wanted = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            token = metadata(self._base + "api/token", wanted, "PUT")
            if token is None:
                raise Refused("the metadata service gives no token")
            self._token, self._token_until = token, time.monotonic() + 21000
        return metadata(self._base + path, {"X-aws-ec2-metadata-token": self._token})

    def credentials(self) -> Credentials:
        """Those of the instance's role, renewed long before they expire."""
        if self._credentials is None or time.monotonic() >= self._credentials_until:
            base = "meta-data/iam/security-credentials/"
            role = (self.get(base) or "").split("\n")[0]
            found = json.loads(self.get(base + role) or "{}") if role else {}
            if not found.get("AccessKeyId"):
                raise Refused("the machine has no role")
            self._credentials = Credentials(
                found["AccessKeyId"], found["SecretAccessKey"], found["Token"]
            )
            self._credentials_until = time.monotonic() + 600
        return self._credentials


class Aws(Vendor):
    """The bucket and the parameters of one region."""

    name = "AWS"

    def __init__(self, region: str, bucket: str) -> None:
        super().__init__()
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
        return self.metadata.get("meta-data/spot/instance-action")

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._right(self._object("PUT", key, data))

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object, in parts when it is large."""
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            if size <= WHOLE_BYTES:
                self._right(self._object("PUT", key, file))
                return
            begun = self._object("POST", key, b"", [("uploads", "")])
            upload = _between(self._right(begun), "UploadId")
            parts = []
            for number in range(1, -(-size // PART_BYTES) + 1):
                query = [("partNumber", str(number)), ("uploadId", upload)]
                answer = self._object("PUT", key, file.read(PART_BYTES), query)
                self._right(answer)
                parts.append((number, answer.headers["etag"]))
        listed = "".join(
            "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>".format(*part)
            for part in parts
        )
        document = "<CompleteMultipartUpload>" + listed + "</CompleteMultipartUpload>"
        body = self._right(self._object("POST", key, document.encode(), [("uploadId", upload)]))
        # A 200 may still carry an error: the answer begins before the parts are joined.
        if b"<Error>" in body:
            raise Refused(body.decode("utf-8", "replace")[:300])

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
        sent = self._signed("POST", url, "/", [], headers, data, "ssm")
        answer: Dict[str, Any] = json.loads(self._right(sent))
        return answer

    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        return self._object("GET", key, into=into)

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
        return self._signed(method, url, path, query or [], {}, body, "s3", into)

    def _signed(
        self,
        method: str,
        url: str,
        path: str,
        query: List[Tuple[str, str]],
        given: Dict[str, str],
        body: Body,
        service: str,
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        where = urlsplit(url)
        digest = hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else UNSIGNED

        def headers() -> Dict[str, str]:
            return sign(
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

        target = encoded_path(path) + ("?" + encoded_query(query) if query else "")
        address = "{}://{}{}".format(where.scheme, where.netloc, target)
        return self._tried(method, address, headers, body, into)


def opened(region: str, bucket: str) -> Vendor:
    """The cloud of a machine in this region."""
    return Aws(region, bucket)


def _between(body: bytes, name: str) -> str:
    found = re.search("<{0}>([^<]+)</{0}>".format(name).encode(), body)
    if not found:
        raise Refused("AWS's answer has no " + name)
    return found.group(1).decode()
