"""The API server's calls that runs need, and its noes in our words.

Statuses: https://kubernetes.io/docs/reference/using-api/api-concepts/ and
https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlencode

from mlbroker.broker.clouds.interface import Denied, NoCapacity, Unclear
from mlbroker.broker.clouds.kubernetes.access import Access
from mlbroker.broker.http import Http, HttpError, Refused, read_json

T = TypeVar("T")
Object = dict[str, Any]

# Resource -> the path of its group and version.
_GROUPS = {
    "jobs": "apis/batch/v1",
    "pods": "api/v1",
    "secrets": "api/v1",
    "events": "api/v1",
    "selfsubjectaccessreviews": "apis/authorization.k8s.io/v1",
}
_GROUP_NAMES = {"jobs": "batch"}
_PAGE = 500
_LISTS = 5
LOG_BYTES = 1 << 18


class Taken(Exception):
    """There is an object of this name."""


class Calls:
    """Asks one API server about one namespace. `renewed` gives access anew when it has run out."""

    def __init__(self, renewed: Callable[[], Access]) -> None:
        self._renewed = renewed
        self._access = renewed()
        self._http = Http(tls=self._access.tls)
        # The server's own time, of its last answer.
        self.now: datetime | None = None

    @property
    def namespace(self) -> str:
        """The namespace that all is asked in."""
        return self._access.namespace

    @property
    def identity(self) -> tuple[str, str]:
        """Which namespace of which cluster."""
        return self._access.server, self._access.namespace

    @property
    def where(self) -> str:
        """For messages."""
        return f"Kubernetes at {self._access.where}"

    def get(self, resource: str, name: str) -> Object | None:
        """An object, None when there is none."""
        try:
            return self._json("GET", "get", resource, name)
        except _NotThere:
            return None

    def list(self, resource: str, **query: str) -> list[Object]:
        """All that match, read in pages; from the beginning when the server lost the thread."""
        for _ in range(_LISTS):
            found: list[Object] = []
            more: str | None = ""
            try:
                while more is not None:
                    page = {"continue": more} if more else {}
                    query_all = {**query, **page, "limit": str(_PAGE)}
                    answer = self._json("GET", "list", resource, query=query_all)
                    found += answer["items"] or []
                    more = answer["metadata"].get("continue") or None
            except _Expired:
                continue
            return found
        raise Unclear(f"the list of {resource} changes faster than it is read", where=self.where)

    def create(self, resource: str, body: Object) -> Object:
        """Make it. Raises Taken where its name is; Unclear where it may have been made."""
        return self._json("POST", "create", resource, body=body, repeatable=False)

    def delete(self, resource: str, name: str, **options: Any) -> None:
        """Ask for its end; what is not there has ended."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        try:
            self._json("DELETE", "delete", resource, name, body=body)
        except _NotThere:
            return

    def log(self, pod: str) -> str:
        """The last that a pod's container said; empty where there is nothing."""
        query = {"tailLines": "200", "limitBytes": str(LOG_BYTES)}

        def text(body: IO[bytes], _: Message) -> str:
            return body.read(LOG_BYTES).decode("utf-8", "replace")

        try:
            return self._ask("GET", "get", "pods", pod, text, query=query, sub="log")
        except (_NotThere, Denied):
            return ""

    def may(self, verb: str, resource: str, sub: str = "") -> bool:
        """Whether these credentials may do so, by the server's own word."""
        attributes = {
            "namespace": self.namespace,
            "verb": verb,
            "resource": resource,
            "subresource": sub,
            "group": _GROUP_NAMES.get(resource, ""),
        }
        kind = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        body = {**kind, "spec": {"resourceAttributes": attributes}}
        answer = self._json("POST", "create", "selfsubjectaccessreviews", body=body)
        return answer.get("status", {}).get("allowed") is True

    def _json(self, method: str, verb: str, resource: str, name: str = "", **how: Any) -> Object:
        def read(body: IO[bytes], _: Message) -> Object:
            found = read_json(body)
            if not isinstance(found, dict):
                raise Unclear("it answers with no object", where=self.where)
            return found

        return self._ask(method, verb, resource, name, read, **how)

    def _ask(
        self,
        method: str,
        verb: str,
        resource: str,
        name: str,
        read: Callable[[IO[bytes], Message], T],
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        sub: str = "",
        repeatable: bool = True,
    ) -> T:
        path = [self._access.server, _GROUPS[resource]]
        if resource != "selfsubjectaccessreviews":
            path += ["namespaces", quote(self.namespace, safe="")]
        path += [resource, *([quote(name, safe="")] if name else []), *([sub] if sub else [])]
        url = "/".join(path) + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()

        def noted(stream: IO[bytes], headers: Message) -> T:
            self._note_time(headers)
            return read(stream, headers)

        with self._in_words(verb, resource + ("/" + sub if sub else ""), name):
            for renewal in (False, True):
                headers = self._access.headers
                try:
                    return self._http.send(method, url, headers, noted, data, repeatable=repeatable)
                except Refused as refused:
                    # Tokens run out in the middle of a run.
                    if refused.status != 401 or renewal:
                        raise
                    self._access = self._renewed()
                    self._http = Http(tls=self._access.tls)
        raise AssertionError("unreachable")

    def _note_time(self, headers: Message) -> None:
        try:
            self.now = parsedate_to_datetime(headers["Date"]).astimezone(UTC)
        except (TypeError, ValueError):
            self.now = None

    @contextmanager
    def _in_words(self, verb: str, resource: str, name: str) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            raise self._no(refused, verb, resource, name) from None
        except HttpError as error:
            raise Unclear(error.what, where=self.where) from None

    def _no(self, refused: Refused, verb: str, resource: str, name: str) -> Exception:
        status, said = refused.status, refused.said
        if status == 401:
            hint = "Log in to the cluster again, as for kubectl."
            return Denied("it does not know these credentials (401)", where=self.where, hint=hint)
        if status == 403 and "exceeded quota" in said:
            return NoCapacity(f"the namespace's quota is used up: {said}", where=self.where)
        if status == 403 and "is forbidden: User" not in said:
            # An admission controller's no, which has words of its own.
            return Denied(f"it will not {verb} {resource}: {said}", where=self.where)
        if status == 403:
            return Denied(
                f"these credentials may not {verb} {resource} in namespace {self.namespace} (403)",
                where=self.where,
                hint="`mlbroker doctor --cloud kubernetes --policies` prints the role it takes.",
            )
        if status == 409 and verb == "create":
            return Taken(name)
        if status == 410:
            return _Expired("the list has grown old", where=self.where)
        if status == 404 and (name or verb == "delete"):
            return _NotThere(f"there is no {resource} {name}", where=self.where)
        if status in (408, 409, 425, 429) or status >= 500:
            return Unclear(f"it answered {status} {said}", where=self.where)
        return Denied(f"it will not {verb} {resource} ({status}): {said}", where=self.where)


class _NotThere(Denied):
    """There is no such object."""


class _Expired(Unclear):
    """A list's thread is lost: it has to be read anew."""
