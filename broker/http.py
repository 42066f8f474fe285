"""HTTP to vendors and forges: retries, size caps, one-line reasons, and no token in any message.

Only the standard library: what is asked for are a few JSON documents, no more.
"""

import gzip
import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO, Any, TypeVar, cast

from mlbroker.broker.errors import CloudError

T = TypeVar("T")
TRIES = 5
TIMEOUT_S = 30.0
# Who asks for a longer pause is asked again by the user, not by us.
LONGEST_WAIT_S = 60.0
PAGE_BYTES = 64 * 2**20
# So much of what a server says is shown.
SAID = 500
FILE_BYTES = 4 * 2**30
# Vendors sign and check times to the quarter of an hour.
CLOCK_SKEW_S = 900
# Besides all of 5xx.
_AGAIN = {408, 425, 429}


class HttpError(CloudError):
    """A server did not answer, or answered what cannot be used."""


class Unanswered(HttpError):
    """The server may or may not have done what was asked."""


class Refused(HttpError):
    """The server said no: `status`, what it `said`, and when it wants to be asked again."""

    def __init__(self, status: int, said: str, wait_s: float | None, host: str) -> None:
        denied = status in (401, 403)
        what = f"refused the credentials (HTTP {status})" if denied else f"answered HTTP {status}"
        super().__init__(what if denied else f"{what} {said}".rstrip(), where=host)
        self.status = status
        self.said = said
        self.wait_s = wait_s


class NotModified(Exception):
    """The document has not changed since the validator given with the request."""


class _Broken(Exception):
    """The body of an answer is not what it should be; a second try may get it whole."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only where the request, and the token in it, was meant to go."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.get_method() != "GET":
            return None
        here, there = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise HttpError(
                f"redirected to another host, {there.netloc} (HTTP {code})", where=here.netloc
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Http:
    """Requests with retries. `sleep` waits between them, `chance` gives the jitter (0 to 1).

    `tls`: whom to believe, and who asks, where that is not the system's to say.
    """

    def __init__(
        self,
        sleep: Callable[[float], None] | None = None,
        chance: Callable[[], float] = random.random,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sleep = sleep or time.sleep
        self._chance = chance
        secure = [] if tls is None else [urllib.request.HTTPSHandler(context=tls)]
        self._opener = urllib.request.build_opener(_SameHost, *secure)

    def json(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object of at most `PAGE_BYTES`, parsed; a broken body is tried again."""

        def read(body: IO[bytes], answered: Message) -> dict[str, Any]:
            _check_clock(answered, _host(url))
            document = read_json(body)
            if not isinstance(document, dict):
                raise _Broken("answered JSON that is not an object")
            return cast(dict[str, Any], document)

        return self.send("GET", url, headers or {}, read)

    def file(
        self, url: str, read: Callable[[IO[bytes]], T], validator: str | None = None
    ) -> tuple[T, str | None]:
        """A large document through `read`, and its validator for the next time.

        Raises `NotModified` when the one given still holds.
        """

        def whole(body: IO[bytes], answered: Message) -> tuple[T, str | None]:
            _check_clock(answered, _host(url))
            return read(body), answered.get("ETag")

        return self.send("GET", url, {"If-None-Match": validator} if validator else {}, whole)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        read: Callable[[IO[bytes], Message], T],
        data: bytes | None = None,
        *,
        repeatable: bool = True,
    ) -> T:
        """What `read` makes of the answer's body and headers, tried `TRIES` times.

        What is not `repeatable` and may have taken effect is `Unanswered` at once.
        """
        host = _host(url)
        request = _request(method, url, headers, data)
        for left in reversed(range(TRIES)):
            wait_s = None
            try:
                with self._open(request) as (body, answered):
                    return read(body, answered)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == http.HTTPStatus.NOT_MODIFIED and "If-None-Match" in headers:
                        raise NotModified from None
                    refused = Refused(error.code, _said(error), _wait_asked(error.headers), host)
                if error.code >= 500 and not repeatable:
                    raise Unanswered(refused.what, where=host) from None
                wait_s = refused.wait_s
                limited = error.code == 403 and wait_s is not None
                again = error.code in _AGAIN or error.code >= 500 or limited
                if not left or not again or (wait_s or 0) > LONGEST_WAIT_S:
                    raise refused from None
            except (OSError, http.client.HTTPException, zlib.error, EOFError, _Broken) as error:
                # All but a refused connection may have arrived.
                unsent = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
                if not repeatable and not unsent:
                    raise Unanswered(_reason(error), where=host) from None
                if not left:
                    raise HttpError(_reason(error), where=host) from None
            self._sleep(self._chance() * 0.25 * 2 ** (TRIES - left) if wait_s is None else wait_s)
        raise AssertionError("unreachable")

    @contextmanager
    def _open(self, request: urllib.request.Request) -> Iterator[tuple[IO[bytes], Message]]:
        with self._opener.open(request, timeout=TIMEOUT_S) as response:
            body = cast(IO[bytes], _Whole(response))
            packed = response.headers.get("Content-Encoding") == "gzip"
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=body)) if packed else body
            yield stream, response.headers


def read_json(body: IO[bytes], *, may_be_empty: bool = False) -> Any:
    """The JSON document of an answer; None of an empty one that may be."""
    content = body.read(PAGE_BYTES + 1)
    if len(content) > PAGE_BYTES:
        raise HttpError("the answer is too large")
    try:
        return None if may_be_empty and not content.strip() else json.loads(content)
    except (ValueError, RecursionError):
        raise _Broken(f"answered {len(content)} bytes that are not JSON") from None


def _request(
    method: str, url: str, headers: Mapping[str, str], data: bytes | None
) -> urllib.request.Request:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise HttpError("not an http address", where=url[:100])
    kind = {} if data is None else {"Content-Type": "application/json"}
    usual = {"Accept-Encoding": "gzip", "User-Agent": "mlbroker", **kind}
    return urllib.request.Request(  # noqa: S310  # the scheme was checked
        url, data, {**usual, **headers}, method=method
    )


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
            raise HttpError("the answer is too large")
        # The library gives less than it was asked for only at the end.
        ended = size < 0 or len(chunk) < size
        if ended and self._expected is not None and self._got < self._expected:
            raise _Broken(f"the answer was cut off after {self._got} bytes")
        return chunk


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc or url[:100]


def _said(error: urllib.error.HTTPError) -> str:
    """What the server says, shortened; our own headers are no part of it."""
    try:
        document = json.loads(error.read(10_000))
        said = document.get("message") or document.get("error")
        return said[:SAID] if isinstance(said, str) else str(error.reason)[:SAID]
    except (ValueError, OSError, AttributeError, http.client.HTTPException):
        return str(error.reason)[:SAID]


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached: {error.reason}"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return f"the answer was cut off after {len(error.partial)} bytes"
    return str(error) or type(error).__name__


def _wait_asked(headers: Message) -> float | None:
    """Seconds until the server wants to be asked again, None when it does not say."""
    try:
        if headers.get("Retry-After"):
            return max(0.0, float(headers["Retry-After"]))
        if headers.get("X-RateLimit-Remaining") == "0":
            return max(0.0, float(headers["X-RateLimit-Reset"]) - time.time())
    except (ValueError, TypeError):
        pass
    return None


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
        raise HttpError(
            f"its clock and this machine's differ by {abs(off) / 60:.0f} minutes",
            where=host,
            hint="Set this machine's clock, then refresh again.",
        )
