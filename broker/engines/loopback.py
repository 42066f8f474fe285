"""The engine of `scripts/service_engine.py`, over HTTP: to try a guard with, and for tests."""

import json
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from mlbroker.broker.engines.interface import Life, Seen
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.pricing.vendors import LOCAL

TARGET = "http://127.0.0.1:PORT"
_TIMEOUT_S = 5.0
_MOST_BYTES = 16 << 20


def opened(target: str) -> "Loopback":
    """InputError for what is no address of this machine."""
    try:
        parts = urlsplit(target)
        here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
        good = here and parts.port is not None
    except ValueError:
        good = False
    if not good:
        raise InputError(
            "is no address of the loopback engine", where="--engine", hint=f"loopback:{TARGET}"
        )
    return Loopback(target)


class Loopback:
    """Stops what is above its maximum at once, and bills by the second that a replica ran."""

    cloud, region = LOCAL, LOCAL
    slack_s, minimum_s, remembers_s = 1.0, 0.0, 3600.0

    def __init__(self, url: str) -> None:
        self._url = url

    def look(self) -> Seen:
        """CloudError where it does not answer."""
        return _seen(self._told("GET", None), self._url)

    def allow(self, least: int, most: int, until_s: float, then: int) -> None:
        """The engine's own clock ends it; its fewest are its own to know."""
        self._told("PUT", {"most": most, "until_s": until_s, "then": then})

    def _told(self, method: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self._url, data, method=method)  # noqa: S310  # see opened
        try:
            with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read(_MOST_BYTES))
        except (OSError, ValueError) as error:
            raise CloudError(f"the engine does not answer: {error}", where=self._url) from None


def _seen(told: Any, url: str) -> Seen:
    try:
        return Seen(
            now_s=float(told["now_s"]),
            running=int(told["running"]),
            ready=int(told["ready"]),
            most=int(told["most"]),
            lives=[Life(*each) for each in told["replicas"]],
            wanted=int(told["wanted"]),
            requests_per_s=float(told["requests_per_s"]),
        )
    except (KeyError, TypeError, ValueError):
        raise CloudError("what answers is no engine of mlbroker's", where=url) from None
