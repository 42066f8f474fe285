"""What a machine at Orchard asks for with its own identity."""

import json
import os
from typing import Any, BinaryIO
from urllib.parse import quote

from ...guest.vendor import Answer, Refused, Vendor, metadata

HERE = "http://169.254.169.254"


class Orchard(Vendor):
    """One bucket for all regions."""

    name = "Orchard"

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self._bucket = os.environ.get("MLBROKER_ORCHARD_URL", HERE) + "/" + bucket + "/"

    def address(self) -> str:
        """Where other machines reach this one."""
        return self._told("address")

    def rank(self) -> int:
        """Machines come one by one."""
        return 0

    def interruption(self) -> str | None:
        """Orchard takes nothing back."""
        return None

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._right(self._send("PUT", self._bucket + quote(key), data))

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object."""
        with open(path, "rb") as file:
            self._right(self._send("PUT", self._bucket + quote(key), file))

    def secrets(self, path: str) -> dict[str, str]:
        """Those of the order."""
        found: dict[str, str] = json.loads(self._told("secrets"))
        return found

    def forget_secrets(self, path: str, names: list[str]) -> None:
        """They go with the machine."""

    def _read(self, key: str, into: BinaryIO | None = None) -> Answer:
        return self._send("GET", self._bucket + quote(key), into=into)

    def _new_token(self, scope: str) -> dict[str, Any]:
        return {"access_token": self._told("token"), "expires_in": "3600"}

    def _told(self, name: str) -> str:
        found = metadata(os.environ.get("MLBROKER_ORCHARD_METADATA", HERE) + "/" + name, {})
        if found is None:
            raise Refused("the machine is not told its " + name)
        return found


def opened(region: str, bucket: str) -> Vendor:
    """The cloud of a machine in this region."""
    return Orchard(bucket)
