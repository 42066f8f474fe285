"""What a machine on Google Cloud asks for with its own identity, its own end included."""

import base64
import http.client
import json
import os
import re
import sys
import time
from typing import BinaryIO, Dict, List, Optional, Tuple, Union
from urllib.parse import quote, urlsplit

METADATA = "metadata.google.internal"
STORAGE = "https://storage.googleapis.com"
SECRETS = "https://secretmanager.googleapis.com/"
COMPUTE = "https://compute.googleapis.com/compute/v1/"
TRIES = 5
TIMEOUT_S = 30
# Asked for again and again: a refused deletion leaves the end to the vendor's own timer.
END_EVERY_S = 10.0
_CHUNK = 1 << 20
_RANK = re.compile(r"-n(\d+)$")

Body = Union[bytes, BinaryIO]
Answer = Tuple[int, bytes]


class GcpError(OSError):
    """Google Cloud said no."""


class Metadata:
    """The metadata server: what the machine is, and tokens of its service account."""

    def __init__(self) -> None:
        host = os.environ.get("GCE_METADATA_HOST") or METADATA
        self._where = urlsplit("http://" + host)
        self._token = ""
        self._token_until = 0.0

    def get(self, path: str) -> Optional[str]:
        """A value of the metadata; None where there is none."""
        where = self._where
        connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=5)
        try:
            connection.request(
                "GET",
                where.path + "/computeMetadata/v1/" + path,
                headers={"Metadata-Flavor": "Google"},
            )
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise GcpError("the metadata server answered {} to {}".format(answer.status, path))
        return text

    def token(self) -> str:
        """An access token of the machine's service account, renewed before it expires."""
        if time.monotonic() >= self._token_until:
            text = self.get("instance/service-accounts/default/token")
            if text is None:
                raise GcpError("the machine has no service account")
            found = json.loads(text)
            self._token = found["access_token"]
            self._token_until = time.monotonic() + max(5.0, float(found["expires_in"]) - 300)
        return self._token


class Gcp:
    """The bucket of the run's region, and the project's secrets."""

    def __init__(self, bucket: str = "") -> None:
        self.metadata = Metadata()
        self._bucket = bucket
        self._storage = os.environ.get("STORAGE_EMULATOR_HOST") or STORAGE
        self._secrets = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or SECRETS
        self._compute = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE") or COMPUTE

    def address(self) -> str:
        """Where the other machines of the run reach this one."""
        return self.metadata.get("instance/network-interfaces/0/ip") or ""

    def rank(self) -> int:
        """Which machine of the run this is: the end of its name says so where there are several."""
        found = _RANK.search(self.metadata.get("instance/name") or "")
        return int(found.group(1)) if found else 0

    def interruption(self) -> Optional[str]:
        """Said when this spot machine is being taken away, half a minute ahead."""
        return "preempted" if self.metadata.get("instance/preempted") == "TRUE" else None

    def get(self, key: str) -> Optional[bytes]:
        """An object's content; None when there is no such object."""
        status, body = self._send("GET", self._object(key))
        return None if status == 404 else _right(status, body)

    def get_file(self, key: str, path: str) -> bool:
        """Copy an object into a file; False when there is no such object."""
        with open(path + ".part", "wb") as file:
            status, body = self._send("GET", self._object(key), into=file)
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
        _right(*self._send("PUT", self._object(key), data))

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object; Cloud Storage takes up to 5 TiB in one request."""
        with open(path, "rb") as file:
            _right(*self._send("PUT", self._object(key), file))

    def secrets(self, path: str) -> Dict[str, str]:
        """The values of a run's secrets: one secret of the project holds them all."""
        status, body = self._send("GET", self._secrets + "v1/" + path + "/versions/latest:access")
        data = json.loads(_right(status, body))["payload"]["data"]
        found: Dict[str, str] = json.loads(base64.b64decode(data))
        return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""
        status, body = self._send("DELETE", self._secrets + "v1/" + path)
        if status != 404:
            _right(status, body)

    def end_machine(self) -> None:
        """Delete this machine and its disk: a machine that merely shut down keeps its disk."""
        project = self.metadata.get("project/project-id") or ""
        zone = (self.metadata.get("instance/zone") or "").rpartition("/")[2]
        name = self.metadata.get("instance/name") or ""
        where = "projects/{}/zones/{}/instances/{}".format(project, zone, name)
        _right(*self._send("DELETE", self._compute + where))

    def _object(self, key: str) -> str:
        return "{}/{}/{}".format(self._storage.rstrip("/"), self._bucket, quote(key))

    def _send(
        self, method: str, url: str, body: Body = b"", into: Optional[BinaryIO] = None
    ) -> Answer:
        """One request, tried again when the other side fails or does not answer."""
        for attempt in range(TRIES):
            try:
                answer = self._once(method, url, body, into)
                if answer[0] < 500 and answer[0] != 429:
                    return answer
                error: Exception = GcpError("Google Cloud answered {}".format(answer[0]))
            except (OSError, http.client.HTTPException) as failure:
                error = failure
            if attempt < TRIES - 1:
                time.sleep(0.2 * 2**attempt)
        raise GcpError("{} {}: {}".format(method, urlsplit(url).path, error))

    def _once(self, method: str, url: str, body: Body, into: Optional[BinaryIO]) -> Answer:
        where = urlsplit(url)
        headers = {"Authorization": "Bearer " + self.metadata.token()}
        if not isinstance(body, bytes):
            body.seek(0)
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        secure = where.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(where.hostname or "", where.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, where.path, body=body, headers=headers)
            answer = connection.getresponse()
            if into is None or answer.status != 200:
                return answer.status, answer.read()
            into.seek(0)
            into.truncate()
            for chunk in iter(lambda: answer.read(_CHUNK), b""):
                into.write(chunk)
            length = answer.getheader("content-length")
            if length is not None and int(length) != into.tell():
                raise GcpError("the answer was cut off")
            return answer.status, b""
        finally:
            connection.close()


def _right(status: int, body: bytes) -> bytes:
    if status not in (200, 204):
        text = body.decode("utf-8", "replace")[:300]
        raise GcpError("Google Cloud answered {}: {}".format(status, text))
    return body


def main() -> None:
    """End this machine, however long it takes to be heard."""
    while True:
        try:
            Gcp().end_machine()
        except (OSError, ValueError) as error:
            print("cannot delete this machine: {}".format(error), file=sys.stderr, flush=True)
        time.sleep(END_EVERY_S)


if __name__ == "__main__":
    main()
