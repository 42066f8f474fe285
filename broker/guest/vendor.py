"""What is the same on the machines of all vendors: HTTP by the standard library, and patience."""

import http.client
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Optional, Tuple, Union
from urllib.parse import urlsplit

TRIES = 5
TIMEOUT_S = 30
METADATA_TIMEOUT_S = 5
# Asked for again and again: a refused deletion leaves the end to the kill switch outside.
END_EVERY_S = 10.0
_CHUNK = 1 << 20
_RANK = re.compile(r"-n(\d+)$")

Body = Union[bytes, BinaryIO]


class Refused(OSError):
    """The vendor said no, or nothing to rely on."""


class Answer(NamedTuple):
    """Names of headers are in small letters."""

    status: int
    headers: Dict[str, str]
    body: bytes


class Vendor(ABC):
    """A machine's view of its cloud, with its own identity; keys are those of the run's bucket."""

    name = ""

    @abstractmethod
    def address(self) -> str:
        """Where the other machines of the run reach this one."""

    @abstractmethod
    def rank(self) -> int:
        """Which machine of the run this is."""

    @abstractmethod
    def interruption(self) -> Optional[str]:
        """What the vendor announced to do with this spot machine, when it did."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object."""

    @abstractmethod
    def put_file(self, key: str, path: str) -> None:
        """Write a file as an object."""

    @abstractmethod
    def secrets(self, path: str) -> Dict[str, str]:
        """The values of the run's secrets, by name."""

    @abstractmethod
    def forget_secrets(self, path: str, names: List[str]) -> None:
        """Remove them: they were read, nobody needs them any more."""

    @abstractmethod
    def _read(self, key: str, into: Optional[BinaryIO] = None) -> Answer:
        """An object, as the vendor answers; `into` a file, where one is given."""

    def get(self, key: str) -> Optional[bytes]:
        """An object's content; None when there is no such object."""
        answer = self._read(key)
        return None if answer.status == 404 else self._right(answer)

    def get_file(self, key: str, path: str) -> bool:
        """Copy an object into a file; False when there is no such object."""
        with open(path + ".part", "wb") as file:
            answer = self._read(key, file)
            file.flush()
            os.fsync(file.fileno())
        if answer.status == 404:
            os.unlink(path + ".part")
            return False
        self._right(answer)
        os.replace(path + ".part", path)
        return True

    def _tried(
        self,
        method: str,
        url: str,
        headers: Callable[[], Dict[str, str]],
        body: Body = b"",
        into: Optional[BinaryIO] = None,
    ) -> Answer:
        """One request, tried again when the other side fails or does not answer.

        `headers` are asked for each time: they prove who asks, and proofs grow old.
        """
        for attempt in range(TRIES):
            try:
                answer = once(method, url, headers(), body, into)
                if answer.status < 500 and answer.status != 429:
                    return answer
                error: Exception = Refused("{} answered {}".format(self.name, answer.status))
            except (OSError, http.client.HTTPException) as failure:
                error = failure
            if attempt < TRIES - 1:
                time.sleep(0.2 * 2**attempt)
        raise Refused("{} {}: {}".format(method, urlsplit(url).path, error))

    def _right(self, answer: Answer) -> bytes:
        """The body of a yes."""
        if answer.status not in (200, 201, 202, 204):
            text = answer.body.decode("utf-8", "replace")[:300]
            raise Refused("{} answered {}: {}".format(self.name, answer.status, text))
        return answer.body

    def _gone(self, answer: Answer) -> None:
        """The answer to a deletion; what was not there is gone too."""
        if answer.status != 404:
            self._right(answer)


class TokenVendor(Vendor):
    """A vendor whose machines prove who they are by access tokens."""

    def __init__(self) -> None:
        self._tokens: Dict[str, Tuple[str, float]] = {}

    @abstractmethod
    def _new_token(self, scope: str) -> Dict[str, Any]:
        """An access token of the machine's identity, as the vendor gives it."""

    def _token(self, scope: str) -> str:
        """An access token, renewed before it expires."""
        token, until = self._tokens.get(scope, ("", 0.0))
        if time.monotonic() >= until:
            found = self._new_token(scope)
            token = str(found["access_token"])
            until = time.monotonic() + max(5.0, float(found["expires_in"]) - 300)
            self._tokens[scope] = token, until
        return token

    def _send(
        self,
        method: str,
        url: str,
        body: Body = b"",
        given: Optional[Dict[str, str]] = None,
        into: Optional[BinaryIO] = None,
        scope: str = "",
    ) -> Answer:
        """One request with the machine's token for this scope."""

        def headers() -> Dict[str, str]:
            return dict(given or {}, Authorization="Bearer " + self._token(scope))

        return self._tried(method, url, headers, body, into)


def opened(cloud: str, region: str, bucket: str) -> Vendor:
    """This machine's cloud, by the module that its folder has for the machine."""
    try:
        module = import_module("..clouds.{}.guest".format(cloud), __package__)
    except ModuleNotFoundError:
        raise SystemExit("mlbroker knows no cloud called " + cloud) from None
    vendor: Vendor = module.opened(region, bucket)
    return vendor


def once(
    method: str,
    url: str,
    headers: Dict[str, str],
    body: Body = b"",
    into: Optional[BinaryIO] = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """One request; what is there goes `into` a file, where one is given."""
    where = urlsplit(url)
    if not isinstance(body, bytes):
        body.seek(0)
        headers = dict(headers, **{"content-length": str(os.fstat(body.fileno()).st_size)})
    secure = where.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=timeout_s)
    try:
        target = where.path + ("?" + where.query if where.query else "")
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if into is None or answer.status != 200:
            return Answer(answer.status, found, answer.read())
        into.seek(0)
        into.truncate()
        for chunk in iter(lambda: answer.read(_CHUNK), b""):
            into.write(chunk)
        if str(into.tell()) != found.get("content-length", str(into.tell())):
            raise Refused("the answer was cut off")
        return Answer(answer.status, found, b"")
    finally:
        connection.close()


def metadata(url: str, headers: Dict[str, str], method: str = "GET") -> Optional[str]:
    """A value of the service that tells a machine about itself; None where there is none."""
    answer = once(method, url, headers, timeout_s=METADATA_TIMEOUT_S)
    if answer.status == 404:
        return None
    if answer.status != 200:
        asked = urlsplit(url).path
        raise Refused("the metadata service answered {} to {}".format(answer.status, asked))
    return answer.body.decode("utf-8", "replace")


def rank_in(name: str) -> Optional[int]:
    """Which machine of its run is called so; None where there is but one."""
    found = _RANK.search(name)
    return int(found.group(1)) if found else None


def insist(end: Callable[[], None]) -> None:
    """End this machine, however long it takes to be heard."""
    while True:
        try:
            end()
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            print("cannot delete this machine: {}".format(error), file=sys.stderr, flush=True)
        time.sleep(END_EVERY_S)
