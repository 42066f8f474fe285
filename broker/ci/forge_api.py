"""A forge's REST API: the token goes to its server alone, and never into a message."""

import json
import urllib.parse
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any

from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.http import Http, HttpError, Refused, read_json

# A list whose next page is always another one ends here: no request has so many comments.
MOST_PAGES = 1000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NotThere(CloudError):
    """The forge says that there is no such thing, or that this token must not see it."""


class NotAllowed(CloudError):
    """The forge says that this token must not do that."""


@dataclass(frozen=True, slots=True)
class ForgeAnswer:
    """What came back: the JSON document and the address of the next page."""

    document: Any
    next_page: str | None


class Api:
    """A forge's REST API at `base_url`; `headers` carry the token and are never shown."""

    def __init__(self, base_url: str, headers: dict[str, str], http: Http | None = None) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise InputError(
                f"{base_url!r} is not an https address", hint="a token is not sent unencrypted"
            )
        self._base = base_url.rstrip("/")
        self._headers = headers
        self._http = http or Http()

    def get(self, path: str) -> Any:
        """One document."""
        return self.call("GET", path).document

    def pages(self, path: str) -> list[dict[str, Any]]:
        """All items of a list that comes in pages, each an object."""
        items: list[dict[str, Any]] = []
        url = path
        for _ in range(MOST_PAGES):
            answer = self.call("GET", url)
            page = answer.document
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise CloudError(f"the answer to GET {path} is not a list of objects")
            items += page
            if answer.next_page is None:
                return items
            url = answer.next_page
        raise CloudError(f"the answer to GET {path} has more than {MOST_PAGES} pages")

    def call(
        self, method: str, path: str, body: Any = None, *, repeatable: bool | None = None
    ) -> ForgeAnswer:
        """One request. What may have taken effect is repeated only where that does no harm."""
        url = path if "://" in path else f"{self._base}/{path}"
        if not url.startswith(f"{self._base}/"):
            raise CloudError("the forge points to another server for the next page")
        what = f"{method} {urllib.parse.urlsplit(url).path}"
        may_repeat = method != "POST" if repeatable is None else repeatable
        data = None if body is None else json.dumps(body).encode()
        try:
            return self._http.send(method, url, self._headers, _read, data, repeatable=may_repeat)
        except Refused as error:
            raise _in_words(what, error) from None
        except HttpError as error:
            raise type(error)(f"{what}: {error.what}") from None


def _read(body: IO[bytes], answered: Message) -> ForgeAnswer:
    return ForgeAnswer(read_json(body, may_be_empty=True), _next_page(answered.get("Link") or ""))


def _next_page(link: str) -> str | None:
    """The address marked `rel="next"` in a Link header."""
    for part in link.split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            return address.strip().strip("<>")
    return None


def _in_words(what: str, refused: Refused) -> CloudError:
    status, said = refused.status, refused.said
    if status == 429 or (status == 403 and refused.wait_s is not None):
        return CloudError(
            f"{what}: the forge limits the rate of calls ({status})",
            hint=f"try again in {refused.wait_s or 1:.0f} s",
        )
    if status == 401:
        return CloudError(
            f"{what}: the token was refused (401)", hint="is it still valid, and for this server?"
        )
    if status == 403:
        return NotAllowed(
            f"{what}: not allowed (403): {said}",
            hint="the token needs the right to write comments"
            " (GitHub: `permissions: pull-requests: write`; GitLab: scope `api`)",
        )
    if status == 404:
        return NotThere(
            f"{what}: not found (404)",
            hint="are repository and number of the request right, and may the token see them?",
        )
    return CloudError(f"{what}: {status} {said}")
