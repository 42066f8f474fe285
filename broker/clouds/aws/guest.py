"""What a machine on AWS asks for with its own identity: metadata, and its folder in the bucket.

It may touch that folder alone. There it is handed links to what else it has to read.
"""

import hashlib
import json
import os
import re
import time
from datetime import datetime, timezone
from typing import Any, BinaryIO, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from ...guest.pace import wait_s
from ...guest.vendor import Answer, Body, Refused, Vendor, metadata
from .guest_sigv4 import UNSIGNED, Credentials, encoded_path, encoded_query, sign

METADATA = "http://169.254.169.254"
# S3 takes at most 5 GB in one request.
WHOLE_BYTES = 256 << 20
PART_BYTES = 128 << 20
# In the machine's own folder: what it is handed once it is there.
LINKS, SECRETS, STOP = "links.json", "secrets.json", "stop"
# Nobody pays for a machine whose launcher died between asking for it and telling it what to do.
LINKS_WITHIN_S = 600.0


def own_folder(account: str, region: str, instance: str) -> str:
    """What the policy of the machines grants to this instance, in its bucket."""
    return "machines/arn:aws:ec2:{}:{}:instance/{}".format(region, account, instance)


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
    """The bucket of one region; keys are those of the run's folder, `runs/TOKEN/NAME`."""

    name = "AWS"

    def __init__(self, region: str, bucket: str) -> None:
        self.metadata = Metadata()
        self._region = region
        self._bucket = bucket
        self._endpoint = os.environ.get("AWS_ENDPOINT_URL")
        self._own = ""
        self._links: Dict[str, Any] = {}

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
        """Write an object; a request to stop goes to the other machines of the run."""
        if _name(key) != STOP:
            self._right(self._object("PUT", key, data))
            return
        for link in self._handed()["stop"]:
            # A link that is too old is no reason to stay: who watches ends them, or the kill time.
            self._tried("PUT", link, dict, data)

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
        """Those that lie beside the links."""
        answer = self._object("GET", path)
        found: Dict[str, str] = {} if _is_absent(answer) else json.loads(self._right(answer))
        return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""
        self._right(self._object("DELETE", path))

    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        link = self._handed()["read"].get(_name(key))
        if link:
            return self._tried("GET", link, dict, b"", into)
        answer = self._object("GET", key, into=into)
        return answer._replace(status=404) if _is_absent(answer) else answer

    def _handed(self) -> Dict[str, Any]:
        """The links; they come soon after the machine, or never."""
        began = time.monotonic()
        while not self._links:
            answer = self._object("GET", LINKS)
            if not _is_absent(answer):
                self._links = json.loads(self._right(answer))
            elif time.monotonic() - began > LINKS_WITHIN_S:
                raise SystemExit("nobody told this machine what to do: its launcher is gone")
            else:
                time.sleep(wait_s(1.0, 10.0, 30.0, time.monotonic() - began))
        return self._links

    def _folder(self) -> str:
        if not self._own:
            me = json.loads(self.metadata.get("dynamic/instance-identity/document") or "{}")
            self._own = own_folder(me["accountId"], me["region"], me["instanceId"])
        return self._own

    def _object(
        self,
        method: str,
        key: str,
        body: Body = b"",
        query: Optional[List[Tuple[str, str]]] = None,
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        path = "/{}/{}".format(self._folder(), _name(key))
        if self._endpoint:
            url, path = self._endpoint, "/" + self._bucket + path
        else:
            url = "https://{}.s3.{}.amazonaws.com".format(self._bucket, self._region)
        return self._signed(method, url, path, query or [], body, into)

    def _signed(
        self,
        method: str,
        url: str,
        path: str,
        query: List[Tuple[str, str]],
        body: Body,
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
                {},
                digest,
                "s3",
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


def _name(key: str) -> str:
    """A file's name in the run's folder, or in the machine's own."""
    return key.split("/", 2)[2] if key.startswith("runs/") else key


def _is_absent(answer: Answer) -> bool:
    """To who may not list, S3 says of what is not there that it may not be read."""
    return answer.status in (403, 404)


def _between(body: bytes, name: str) -> str:
    found = re.search("<{0}>([^<]+)</{0}>".format(name).encode(), body)
    if not found:
        raise Refused("AWS's answer has no " + name)
    return found.group(1).decode()
