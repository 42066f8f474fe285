"""What a machine on Google Cloud asks for with its own identity, its own end included."""

import base64
import json
import os
from typing import Any, BinaryIO, Dict, List, Optional
from urllib.parse import quote

from ...guest.vendor import Answer, Refused, TokenVendor, Vendor, insist, metadata, rank_in

METADATA = "metadata.google.internal"
STORAGE = "https://storage.googleapis.com"
SECRETS = "https://secretmanager.googleapis.com/"
COMPUTE = "https://compute.googleapis.com/compute/v1/"


class Gcp(TokenVendor):
    """The bucket of the run's region, and the project's secrets."""

    name = "Google Cloud"

    def __init__(self, bucket: str = "") -> None:
        super().__init__()
        host = os.environ.get("GCE_METADATA_HOST") or METADATA
        self._metadata = "http://" + host + "/computeMetadata/v1/"
        self._bucket = bucket
        self._storage = os.environ.get("STORAGE_EMULATOR_HOST") or STORAGE
        self._secrets = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or SECRETS
        self._compute = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE") or COMPUTE

    def address(self) -> str:
        """Where the other machines of the run reach this one."""
        return self._told("instance/network-interfaces/0/ip") or ""

    def rank(self) -> int:
        """Which machine of the run this is."""
        return rank_in(self._told("instance/name") or "") or 0

    def interruption(self) -> Optional[str]:
        """Said when this spot machine is being taken away, half a minute ahead."""
        return "preempted" if self._told("instance/preempted") == "TRUE" else None

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
        self._gone(self._send("DELETE", self._secrets + "v1/" + path))

    def end_machine(self) -> None:
        """Delete this machine and its disk: a machine that merely shut down keeps its disk."""
        project = self._told("project/project-id") or ""
        zone = (self._told("instance/zone") or "").rpartition("/")[2]
        name = self._told("instance/name") or ""
        where = "projects/{}/zones/{}/instances/{}".format(project, zone, name)
        self._right(self._send("DELETE", self._compute + where))

    def _object(self, key: str) -> str:
        return "{}/{}/{}".format(self._storage.rstrip("/"), self._bucket, quote(key))

    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        answer = self._send("GET", self._object(key), into=into)
        # Whoever may not list is not told whether there is such an object.
        return answer._replace(status=404) if answer.status == 403 else answer

    def _told(self, path: str) -> Optional[str]:
        """A value of the metadata server; None where there is none."""
        return metadata(self._metadata + path, {"Metadata-Flavor": "Google"})

    def _new_token(self, scope: str) -> Dict[str, Any]:
        """Of the machine's service account; the account's role is its scope."""
        text = self._told("instance/service-accounts/default/token")
        if text is None:
            raise Refused("the machine has no service account")
        found: Dict[str, Any] = json.loads(text)
        return found


def opened(region: str, bucket: str) -> Vendor:
    """The cloud of a machine; it knows its region by itself."""
    return Gcp(bucket)


if __name__ == "__main__":
    insist(lambda: Gcp().end_machine())
