"""What a machine on Azure asks for with its own identity, its own end included."""

import base64
import json
import os
from typing import Any, BinaryIO, Dict, List, Optional
from urllib.parse import quote, urlencode

from ...guest.vendor import Answer, Refused, TokenVendor, Vendor, insist, metadata, rank_in

METADATA = "http://169.254.169.254"
MANAGEMENT = "https://management.azure.com"
STORAGE = "https://{}.blob.core.windows.net"
VAULTS = "https://{}.vault.azure.net"
STORAGE_SCOPE = "https://storage.azure.com/"
VAULT_SCOPE = "https://vault.azure.net"
CONTAINER = "mlbroker"
# What one request may carry is more, but a lost one is sent again as a whole.
BLOCK_BYTES = 64 << 20
_STORAGE_VERSION = {"x-ms-version": "2021-12-02"}


class Azure(TokenVendor):
    """The container of the run's region, and its key vault."""

    name = "Azure"

    def __init__(self, account: str = "") -> None:
        super().__init__()
        host = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or METADATA
        self._metadata = host + "/metadata/"
        self._compute: Dict[str, Any] = {}
        storage = os.environ.get("MLBROKER_AZURE_STORAGE_URL")
        base = storage.rstrip("/") + "/" + account if storage else STORAGE.format(account)
        self._container = base + "/" + CONTAINER
        self._management = os.environ.get("MLBROKER_AZURE_MANAGEMENT_URL") or MANAGEMENT

    def address(self) -> str:
        """Where the other machines of the run reach this one."""
        interfaces = self._told("instance/network/interface", "2021-02-01")
        return str(interfaces[0]["ipv4"]["ipAddress"][0]["privateIpAddress"])

    def rank(self) -> int:
        """Which machine of the run this is."""
        return rank_in(self._fact("name")) or 0

    def interruption(self) -> Optional[str]:
        """Said when this spot machine is being taken away, half a minute ahead."""
        events = self._told("scheduledevents", "2020-07-01").get("Events", [])
        return "preempted" if any(e.get("EventType") == "Preempt" for e in events) else None

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._right(self._blob("PUT", key, body=data, headers={"x-ms-blob-type": "BlockBlob"}))

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object: block by block, and all of it at once in the end."""
        names: List[str] = []
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(BLOCK_BYTES), b""):
                name = base64.b64encode("{:08d}".format(len(names)).encode()).decode()
                query = "?comp=block&blockid=" + quote(name, safe="")
                self._right(self._blob("PUT", key, query, block))
                names.append(name)
        blocks = "".join("<Latest>{}</Latest>".format(name) for name in names)
        document = "<?xml version='1.0' encoding='utf-8'?><BlockList>{}</BlockList>".format(blocks)
        self._right(self._blob("PUT", key, "?comp=blocklist", document.encode()))

    def secrets(self, path: str) -> Dict[str, str]:
        """The values of a run's secrets: one secret of the vault holds them all."""
        answer = self._send("GET", self._secret(path), scope=VAULT_SCOPE)
        found: Dict[str, str] = json.loads(json.loads(self._right(answer))["value"])
        return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""
        self._gone(self._send("DELETE", self._secret(path), scope=VAULT_SCOPE))

    def end_machine(self) -> None:
        """Delete this machine's whole group: a machine that merely shut down bills on.

        One of several goes alone, with its disk and address: the others may still work.
        """
        name = self._fact("name")
        group = "/subscriptions/{}/resourceGroups/{}".format(
            self._fact("subscriptionId"), self._fact("resourceGroupName")
        )
        path = (
            group + "?api-version=2024-07-01&forceDeletionTypes=Microsoft.Compute/virtualMachines"
        )
        if rank_in(name) is not None:
            machine = "/providers/Microsoft.Compute/virtualMachines/" + name
            path = group + machine + "?api-version=2024-07-01&forceDeletion=true"
        url = self._management.rstrip("/") + path
        self._gone(self._send("DELETE", url, scope=MANAGEMENT + "/"))

    def _secret(self, path: str) -> str:
        vault, _, name = path.partition("/")
        own = os.environ.get("MLBROKER_AZURE_VAULT_URL")
        base = own.rstrip("/") + "/" + vault if own else VAULTS.format(vault)
        return "{}/secrets/{}?api-version=7.4".format(base, name)

    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        return self._blob("GET", key, into=into)

    def _blob(
        self,
        method: str,
        key: str,
        query: str = "",
        body: bytes = b"",
        headers: Optional[Dict[str, str]] = None,
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        url = "{}/{}{}".format(self._container, quote(key), query)
        given = dict(_STORAGE_VERSION, **(headers or {}))
        return self._send(method, url, body, given, into, STORAGE_SCOPE)

    def _told(self, path: str, version: str, **query: str) -> Any:
        """A document of the metadata service."""
        wanted = urlencode(dict({"api-version": version}, **query))
        text = metadata(self._metadata + path + "?" + wanted, {"Metadata": "true"})
        if text is None:
            raise Refused("the metadata service has no " + path)
        return json.loads(text)

    def _fact(self, name: str) -> str:
        """A fact about the machine."""
        if not self._compute:
            self._compute = self._told("instance/compute", "2021-02-01")
        return str(self._compute[name])

    def _new_token(self, scope: str) -> Dict[str, Any]:
        found: Dict[str, Any] = self._told("identity/oauth2/token", "2018-02-01", resource=scope)
        return found


def opened(region: str, bucket: str) -> Vendor:
    """The cloud of a machine; on Azure a bucket is a storage account."""
    return Azure(bucket)


if __name__ == "__main__":
    insist(lambda: Azure().end_machine())
