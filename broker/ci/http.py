"""JSON over HTTP to a forge: bounded waits, safe retries, and no token in any message."""

import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from mlbroker.broker.errors import CloudError, InputError

ATTEMPTS = 5
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 30.0
_MAX_ANSWER = 50_000_000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unanswered(CloudError):
    """The forge may or may not have done what was asked."""


class NotThere(CloudError):
    """The forge says that there is no such thing, or that this token must not see it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the JSON document and the address of the next page."""

    document: Any
    next_page: str | None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Api:
    """A forge's REST API at `base_url`; `headers` carry the token and are never shown."""

    def __init__(self, base_url: str, headers: dict[str, str], *, pause_s: float = 1.0) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise InputError(
                f"{base_url!r} is not an https address", hint="a token is not sent unencrypted"
            )
        self._base = base_url.rstrip("/")
        self._headers = headers
        self._pause_s = pause_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def get(self, path: str) -> Any:
        """One document."""
        return self.call("GET", path).document

    def pages(self, path: str) -> list[Any]:
        """All items of a list that comes in pages."""
        items: list[Any] = []
        url: str | None = path
        while url is not None:
            answer = self.call("GET", url)
            if not isinstance(answer.document, list):
                raise CloudError(f"the answer to GET {path} is not a list")
            items += answer.document
            url = answer.next_page
        return items

    def call(
        self, method: str, path: str, body: Any = None, *, repeatable: bool | None = None
    ) -> Answer:
        """One request. What may have taken effect is repeated only where that does no harm."""
        url = path if "://" in path else f"{self._base}/{path}"
        if not url.startswith(f"{self._base}/"):
            raise CloudError("the forge points to another server for the next page")
        what = f"{method} {urllib.parse.urlsplit(url).path}"
        may_repeat = method != "POST" if repeatable is None else repeatable
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                return self._once(method, url, body)
            except urllib.error.HTTPError as error:
                wait_s = _wait_asked(error)
                said = _message(error)
                if error.code in (429, 403) and wait_s is not None:
                    if last or wait_s > LONGEST_WAIT_S:
                        raise CloudError(
                            f"{what}: the forge limits the rate of calls ({error.code})",
                            hint=f"try again in {wait_s:.0f} s",
                        ) from None
                elif error.code >= 500:
                    if not may_repeat:
                        raise Unanswered(f"{what}: {error.code} {said}") from None
                    if last:
                        raise CloudError(f"{what}: {error.code} {said}") from None
                else:
                    raise _refusal(what, error.code, said) from None
            except (OSError, HTTPException, ValueError) as error:
                # urllib wraps what it could not even send in URLError; all else may have arrived.
                reason = getattr(error, "reason", error)
                unsent = isinstance(reason, ConnectionRefusedError)
                if not may_repeat and not unsent:
                    raise Unanswered(f"{what}: {reason}") from None
                if last:
                    raise CloudError(f"{what}: {reason}") from None
                wait_s = None
            time.sleep(wait_s if wait_s is not None else self._backoff_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _backoff_s(self, attempt: int) -> float:
        return self._pause_s * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.0)

    def _once(self, method: str, url: str, body: Any) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked
            url,
            data,
            {"Content-Type": "application/json", "User-Agent": "mlbroker", **self._headers},
            method=method,
        )
        with self._opener.open(request, timeout=TIMEOUT_S) as response:
            content = response.read(_MAX_ANSWER)
            document = json.loads(content) if content.strip() else None
            return Answer(document, _next_page(response.headers.get("Link") or ""))


def _next_page(link: str) -> str | None:
    """The address marked `rel="next"` in a Link header."""
    for part in link.split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            return address.strip().strip("<>")
    return None


def _wait_asked(error: urllib.error.HTTPError) -> float | None:
    """Seconds until the forge wants to be asked again, None when it does not say."""
    try:
        if error.headers.get("Retry-After"):
            return max(0.0, float(error.headers["Retry-After"]))
        if error.headers.get("X-RateLimit-Remaining") == "0":
            return max(0.0, float(error.headers["X-RateLimit-Reset"]) - time.time())
    except (ValueError, TypeError):
        pass
    return None if error.code != 429 else 1.0


def _message(error: urllib.error.HTTPError) -> str:
    """What the forge says, shortened; our own headers are no part of it."""
    try:
        document = json.loads(error.read(10_000))
        return str(document.get("message") or document.get("error") or "")[:200]
    except (ValueError, OSError, AttributeError):
        return str(error.reason)[:200]


def _refusal(what: str, code: int, said: str) -> CloudError:
    if code == 401:
        return CloudError(
            f"{what}: the token was refused (401)", hint="is it still valid, and for this server?"
        )
    if code == 403:
        return CloudError(
            f"{what}: not allowed (403): {said}",
            hint="the token needs the right to write comments"
            " (GitHub: `permissions: pull-requests: write`; GitLab: scope `api`)",
        )
    if code == 404:
        return NotThere(
            f"{what}: not found (404)",
            hint="are repository and number of the request right, and may the token see them?",
        )
    return CloudError(f"{what}: {code} {said}")
