"""What a machine on Google Cloud asks for with its own identity, its own end included."""

import base64
import json
import os
import time
from typing import BinaryIO, Dict, List, Optional
from urllib.parse import quote

from .vendor import Answer, Body, Refused, Vendor, insist, metadata, rank_in

METADATA = "metadata.google.internal"
STORAGE = "https://storage.googleapis.com"
SECRETS = "https://secretmanager.googleapis.com/"
COMPUTE = "https://compute.googleapis.com/compute/v1/"


class Metadata:
    """The metadata server: what the machine is, and tokens of its service account."""

    def __init__(self) -> None:
        host = os.environ.get("GCE_METADATA_HOST") or METADATA
        self._base = "http://" + host + "/computeMetadata/v1/"
        self._token = ""
        self._token_until = 0.0

    def get(self, path: str) -> Optional[str]:
        """A value of the metadata; None where there is none."""
        return metadata(self._base + path, {"Metadata-Flavor": "Google"})

    def token(self) -> str:
        """An access token of the machine's service account, renewed before it expires."""
        if time.monotonic() >= self._token_until:
            text = self.get("instance/service-accounts/default/token")
            if text is None:
                raise Refused("the machine has no service account")
            found = json.loads(text)
            self._token = found["access_token"]
            self._token_until = time.monotonic() + max(5.0, float(found["expires_in"]) - 300)
        return self._token


class Gcp(Vendor):
    """The bucket of the run's region, and the project's secrets."""

    name = "Google Cloud"

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
        """Which machine of the run this is."""
        return rank_in(self.metadata.get("instance/name") or "") or 0

    def interruption(self) -> Optional[str]:
        """Said when this spot machine is being taken away, half a minute ahead."""
        return "preempted" if self.metadata.get("instance/preempted") == "TRUE" else None

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._right(self._send("PUT", self._object(key), data))

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object; Cloud Storage takes up to 5 TiB in one request."""
        with open(path, "rb") as file:
            self._right(self._send("PUT", self._object(key), file))

    def secrets(self, path: str) -> Dict[str, str]:
        """The values of a run's secrets: one secret of the project holds them all."""
        answer = self._send("GET", self._secrets + "v1/" + path + "/versions/latest:access")
        data = json.loads(self._right(answer))["payload"]["data"]
        found: Dict[str, str] = json.loads(base64.b64decode(data))
        return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""
        answer = self._send("DELETE", self._secrets + "v1/" + path)
        if answer.status != 404:
            self._right(answer)

    def end_machine(self) -> None:
        """Delete this machine and its disk: a machine that merely shut down keeps its disk."""
        project = self.metadata.get("project/project-id") or ""
        zone = (self.metadata.get("instance/zone") or "").rpartition("/")[2]
        name = self.metadata.get("instance/name") or ""
        where = "projects/{}/zones/{}/instances/{}".format(project, zone, name)
        self._right(self._send("DELETE", self._compute + where))

    def _object(self, key: str) -> str:
        return "{}/{}/{}".format(self._storage.rstrip("/"), self._bucket, quote(key))

    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        return self._send("GET", self._object(key), into=into)

    def _send(
        self, method: str, url: str, body: Body = b"", into: Optional[BinaryIO] = None
    ) -> Answer:
        def headers() -> Dict[str, str]:
            return {"Authorization": "Bearer " + self.metadata.token()}

        return self._tried(method, url, headers, body, into)


if __name__ == "__main__":
    insist(lambda: Gcp().end_machine())
