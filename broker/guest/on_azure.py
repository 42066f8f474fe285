"""What a machine on Azure asks for with its own identity, its own end included."""

import base64
import http.client
import json
import os
import re
import sys
import time
from typing import Any, BinaryIO, Dict, List, Optional, Tuple
from urllib.parse import quote, urlencode, urlsplit

METADATA = "http://169.254.169.254"
MANAGEMENT = "https://management.azure.com"
STORAGE = "https://{}.blob.core.windows.net"
VAULTS = "https://{}.vault.azure.net"
STORAGE_SCOPE = "https://storage.azure.com/"
VAULT_SCOPE = "https://vault.azure.net"
CONTAINER = "mlbroker"
TRIES = 5
TIMEOUT_S = 30
# Asked for again and again: a refused deletion leaves the end to the Logic App.
END_EVERY_S = 10.0
# What one request may carry is more, but a lost one is sent again as a whole.
BLOCK_BYTES = 64 << 20
_CHUNK = 1 << 20
_RANK = re.compile(r"-n(\d+)$")
_STORAGE_VERSION = {"x-ms-version": "2021-12-02"}

Body = bytes
Answer = Tuple[int, bytes]


class AzureError(OSError):
    """Azure said no."""


class Metadata:
    """The metadata service: what the machine is, and tokens of its identity."""

    def __init__(self) -> None:
        host = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or METADATA
        self._where = urlsplit(host)
        self._tokens: Dict[str, Tuple[str, float]] = {}
        self._compute: Dict[str, Any] = {}

    def get(self, path: str, version: str, **query: str) -> Any:
        """A document of the metadata service."""
        where = self._where
        connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=5)
        wanted = urlencode(dict({"api-version": version}, **query))
        try:
            connection.request(
                "GET",
                "{}/metadata/{}?{}".format(where.path, path, wanted),
                headers={"Metadata": "true"},
            )
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        if answer.status != 200:
            raise AzureError("the metadata service answered {} to {}".format(answer.status, path))
        return json.loads(text)

    def compute(self, name: str) -> str:
        """A fact about the machine."""
        if not self._compute:
            self._compute = self.get("instance/compute", "2021-02-01")
        return str(self._compute[name])

    def token(self, resource: str) -> str:
        """An access token of the machine's identity, renewed before it expires."""
        token, until = self._tokens.get(resource, ("", 0.0))
        if time.monotonic() >= until:
            found = self.get("identity/oauth2/token", "2018-02-01", resource=resource)
            token = str(found["access_token"])
            until = time.monotonic() + max(5.0, float(found["expires_in"]) - 300)
            self._tokens[resource] = token, until
        return token


class Azure:
    """The container of the run's region, and its key vault."""

    def __init__(self, account: str = "") -> None:
        self.metadata = Metadata()
        storage = os.environ.get("MLBROKER_AZURE_STORAGE_URL")
        base = storage.rstrip("/") + "/" + account if storage else STORAGE.format(account)
        self._container = base + "/" + CONTAINER
        self._management = os.environ.get("MLBROKER_AZURE_MANAGEMENT_URL") or MANAGEMENT

    def address(self) -> str:
        """Where the other machines of the run reach this one."""
        interfaces = self.metadata.get("instance/network/interface", "2021-02-01")
        return str(interfaces[0]["ipv4"]["ipAddress"][0]["privateIpAddress"])

    def rank(self) -> int:
        """Which machine of the run this is: the end of its name says so where there are several."""
        found = _RANK.search(self.metadata.compute("name"))
        return int(found.group(1)) if found else 0

    def interruption(self) -> Optional[str]:
        """Said when this spot machine is being taken away, half a minute ahead."""
        events = self.metadata.get("scheduledevents", "2020-07-01").get("Events", [])
        return "preempted" if any(e.get("EventType") == "Preempt" for e in events) else None

    def get(self, key: str) -> Optional[bytes]:
        """An object's content; None when there is no such object."""
        status, body = self._blob("GET", key)
        return None if status == 404 else _right(status, body)

    def get_file(self, key: str, path: str) -> bool:
        """Copy an object into a file; False when there is no such object."""
        with open(path + ".part", "wb") as file:
            status, body = self._blob("GET", key, into=file)
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
        _right(*self._blob("PUT", key, body=data, headers={"x-ms-blob-type": "BlockBlob"}))

    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object: block by block, and all of it at once in the end."""
        names: List[str] = []
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(BLOCK_BYTES), b""):
                name = base64.b64encode("{:08d}".format(len(names)).encode()).decode()
                query = "?comp=block&blockid=" + quote(name, safe="")
                _right(*self._blob("PUT", key, query, block))
                names.append(name)
        blocks = "".join("<Latest>{}</Latest>".format(name) for name in names)
        document = "<?xml version='1.0' encoding='utf-8'?><BlockList>{}</BlockList>".format(blocks)
        _right(*self._blob("PUT", key, "?comp=blocklist", document.encode()))

    def secrets(self, path: str) -> Dict[str, str]:
        """The values of a run's secrets: one secret of the vault holds them all."""
        status, body = self._send("GET", self._secret(path), VAULT_SCOPE)
        found: Dict[str, str] = json.loads(json.loads(_right(status, body))["value"])
        return found

    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""
        status, body = self._send("DELETE", self._secret(path), VAULT_SCOPE)
        if status != 404:
            _right(status, body)

    def end_machine(self) -> None:
        """Delete this machine's whole group: a machine that merely shut down bills on.

        One of several goes alone, with its disk and address: the others may still work.
        """
        name = self.metadata.compute("name")
        group = "/subscriptions/{}/resourceGroups/{}".format(
            self.metadata.compute("subscriptionId"), self.metadata.compute("resourceGroupName")
        )
        path = (
            group + "?api-version=2024-07-01&forceDeletionTypes=Microsoft.Compute/virtualMachines"
        )
        if _RANK.search(name):
            machine = "/providers/Microsoft.Compute/virtualMachines/" + name
            path = group + machine + "?api-version=2024-07-01&forceDeletion=true"
        url = self._management.rstrip("/") + path
        status, body = self._send("DELETE", url, MANAGEMENT + "/")
        if status != 404:
            _right(status, body)

    def _secret(self, path: str) -> str:
        vault, _, name = path.partition("/")
        own = os.environ.get("MLBROKER_AZURE_VAULT_URL")
        base = own.rstrip("/") + "/" + vault if own else VAULTS.format(vault)
        return "{}/secrets/{}?api-version=7.4".format(base, name)

    def _blob(
        self,
        method: str,
        key: str,
        query: str = "",
        body: Body = b"",
        headers: Optional[Dict[str, str]] = None,
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        url = "{}/{}{}".format(self._container, quote(key), query)
        given = dict(_STORAGE_VERSION, **(headers or {}))
        return self._send(method, url, STORAGE_SCOPE, body, given, into)

    def _send(
        self,
        method: str,
        url: str,
        resource: str,
        body: Body = b"",
        headers: Optional[Dict[str, str]] = None,
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        """One request, tried again when the other side fails or does not answer."""
        for attempt in range(TRIES):
            try:
                given = dict(headers or {}, Authorization="Bearer " + self.metadata.token(resource))
                answer = _once(method, url, body, given, into)
                if answer[0] < 500 and answer[0] != 429:
                    return answer
                error: Exception = AzureError("Azure answered {}".format(answer[0]))
            except (OSError, http.client.HTTPException) as failure:
                error = failure
            if attempt < TRIES - 1:
                time.sleep(0.2 * 2**attempt)
        raise AzureError("{} {}: {}".format(method, urlsplit(url).path, error))


def _once(
    method: str, url: str, body: Body, headers: Dict[str, str], into: Optional[BinaryIO]
) -> Answer:
    where = urlsplit(url)
    secure = where.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=TIMEOUT_S)
    path = where.path + ("?" + where.query if where.query else "")
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        if into is None or answer.status != 200:
            return answer.status, answer.read()
        into.seek(0)
        into.truncate()
        for chunk in iter(lambda: answer.read(_CHUNK), b""):
            into.write(chunk)
        length = answer.getheader("content-length")
        if length is not None and int(length) != into.tell():
            raise AzureError("the answer was cut off")
        return answer.status, b""
    finally:
        connection.close()


def _right(status: int, body: bytes) -> bytes:
    if status not in (200, 201, 202, 204):
        text = body.decode("utf-8", "replace")[:300]
        raise AzureError("Azure answered {}: {}".format(status, text))
    return body


def main() -> None:
    """End this machine, however long it takes to be heard."""
    while True:
        try:
            Azure().end_machine()
        except (OSError, ValueError, KeyError) as error:
            print("cannot delete this machine: {}".format(error), file=sys.stderr, flush=True)
        time.sleep(END_EVERY_S)


if __name__ == "__main__":
    main()
