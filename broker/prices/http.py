"""Plain HTTPS to the vendors' price services: retries, size caps, and one-line reasons.

Only the standard library: the feeds read a few public JSON documents, no more.
"""

import gzip
import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO, Any, cast

from mlbroker.broker.errors import CloudError

TRIES = 5
TIMEOUT_S = 30.0
LONGEST_WAIT_S = 20.0
PAGE_BYTES = 64 * 2**20
FILE_BYTES = 4 * 2**30
# Vendors sign and check times to the quarter of an hour.
CLOCK_SKEW_S = 900
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class FeedError(CloudError):
    """A price service said no, did not answer, or answered what cannot be prices."""


class NotModified(Exception):
    """The document has not changed since the validator given with the request."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only where the request was meant to go."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        here, there = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise FeedError(f"redirected to another host, {there.netloc}", where=here.netloc)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Http:
    """Requests with retries. `sleep` waits between them, `chance` gives the jitter (0 to 1)."""

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._sleep = sleep
        self._chance = chance
        self._opener = urllib.request.build_opener(_SameHost)

    def json(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object of at most `PAGE_BYTES`, parsed; a broken body is tried again."""

        def read(body: IO[bytes]) -> dict[str, Any]:
            content = body.read(PAGE_BYTES + 1)
            if len(content) > PAGE_BYTES:
                raise FeedError("the answer is too large", where=_host(url))
            try:
                document = json.loads(content)
            except (ValueError, RecursionError):
                raise _Broken(f"answered {len(content)} bytes that are not JSON") from None
            if not isinstance(document, dict):
                raise _Broken("answered JSON that is not an object")
            return cast(dict[str, Any], document)

        document: dict[str, Any] = self._with_retries(url, headers or {}, read)[0]
        return document

    def file(
        self,
        url: str,
        read: Callable[[IO[bytes]], Any],
        validator: str | None = None,
    ) -> tuple[Any, str | None]:
        """A large document through `read`, and its validator for the next time.

        Raises `NotModified` when the one given still holds.
        """
        headers = {"If-None-Match": validator} if validator else {}
        return self._with_retries(url, headers, read)

    def _with_retries(
        self, url: str, headers: Mapping[str, str], read: Callable[[IO[bytes]], Any]
    ) -> tuple[Any, str | None]:
        host = _host(url)
        for left in reversed(range(TRIES)):
            try:
                with self._open(url, headers) as (body, validator):
                    return read(body), validator
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == http.HTTPStatus.NOT_MODIFIED:
                        raise NotModified from None
                    if error.code not in _AGAIN or not left:
                        raise FeedError(_refusal(error), where=host) from None
                    wait = _retry_after(error.headers)
            except (OSError, http.client.HTTPException, zlib.error, EOFError, _Broken) as error:
                if not left:
                    raise FeedError(_reason(error), where=host) from None
                wait = None
            if wait is None:
                wait = self._chance() * 0.25 * 2 ** (TRIES - left)
            self._sleep(min(wait, LONGEST_WAIT_S))
        raise AssertionError("unreachable")

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[tuple[IO[bytes], str | None]]:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise FeedError("not an http address", where=url[:100])
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked
            url, headers={"Accept-Encoding": "gzip", "User-Agent": "mlbroker", **headers}
        )
        with self._opener.open(request, timeout=TIMEOUT_S) as response:
            _check_clock(response.headers, _host(url))
            body = _Whole(response)
            packed = response.headers.get("Content-Encoding") == "gzip"
            stream = gzip.GzipFile(fileobj=cast(IO[bytes], body)) if packed else body
            yield cast(IO[bytes], stream), response.headers.get("ETag")


class _Broken(Exception):
    """The body of an answer is not what it should be; a second try may get it whole."""


class _Whole:
    """A response body that notices when it ends too early or never ends."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        length = response.headers.get("Content-Length")
        self._expected = int(length) if length and length.isdigit() else None
        self._got = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._response.read(size if size >= 0 else None)
        self._got += len(chunk)
        if self._got > FILE_BYTES:
            raise FeedError("the answer is too large")
        # The library gives less than it was asked for only at the end.
        ended = size < 0 or len(chunk) < size
        if ended and self._expected is not None and self._got < self._expected:
            raise _Broken(f"the answer was cut off after {self._got} bytes")
        return chunk


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc or url[:100]


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return f"refused the credentials (HTTP {error.code})"
    return f"answered HTTP {error.code} {error.reason}"


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached: {error.reason}"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return f"the answer was cut off after {len(error.partial)} bytes"
    return str(error) or type(error).__name__


def _retry_after(headers: Message) -> float | None:
    text = (headers.get("Retry-After") or "").strip()
    return float(text) if text.isdigit() else None


def _check_clock(headers: Message, host: str) -> None:
    """A machine whose clock is far off would date prices wrongly and call old ones fresh."""
    text = headers.get("Date")
    if not text:
        return
    try:
        off = time.time() - parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return
    if abs(off) > CLOCK_SKEW_S:
        raise FeedError(
            f"its clock and this machine's differ by {abs(off) / 60:.0f} minutes",
            where=host,
            hint="Set this machine's clock, then refresh again.",
        )
