"""GitHub's and GitLab's comment APIs on loopback, as strict as the real ones where it matters.

They hold comments, page through them, check the token, limit the rate and length, and can be told
to fail the next calls in given ways.
"""

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_0123456789secret"


@dataclass
class Fault:
    """What happens to the next call of `method`: a status with headers, before or after it works.

    `drop` closes the connection without an answer.
    """

    method: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    drop: bool = False


@dataclass
class Note:
    """A comment."""

    id: int
    body: str
    hidden: bool = False
    system: bool = False
    author: str = "bot"


class FakeForge:
    """The state of one request's comments."""

    def __init__(self, flavour: str, page_size: int = 100) -> None:
        self.flavour = flavour
        self.page_size = page_size
        self.notes: list[Note] = []
        self.calls: list[str] = []
        self.seen_tokens: set[str] = set()
        self.faults: deque[Fault] = deque()
        # What becomes of every answer on its way: status, headers and body.
        self.lie: Callable[[int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]] | None
        self.lie = None
        # Whose the token is: only the author of a note may change it, or delete it.
        self.user = "bot"
        self.url = ""
        self._next_id = 1

    @property
    def bodies(self) -> list[str]:
        """The bodies of what is not hidden."""
        return [note.body for note in self.notes if not note.hidden]

    def add(self, body: str, *, system: bool = False) -> Note:
        note = Note(self._next_id, body, system=system, author=self.user)
        self._next_id += 1
        self.notes.append(note)
        return note

    def environment(self, number: int = 7) -> dict[str, str]:
        """What the CI system sets for a job of this request."""
        if self.flavour == "github":
            return {
                "GITHUB_TOKEN": TOKEN,
                "GITHUB_API_URL": self.url,
                "GITHUB_GRAPHQL_URL": f"{self.url}/graphql",
                "GITHUB_REPOSITORY": "acme/ml",
                "GITHUB_REF": f"refs/pull/{number}/merge",
            }
        return {
            "GITLAB_TOKEN": TOKEN,
            "CI_API_V4_URL": self.url,
            "CI_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": str(number),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    forge: FakeForge

    def log_message(self, *_: object) -> None:
        return

    def _handle(self) -> None:
        forge = self.forge
        forge.calls.append(f"{self.command} {urlsplit(self.path).path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        fault = None
        if forge.faults and forge.faults[0].method == self.command:
            fault = forge.faults.popleft()
        if fault is None or fault.after:
            status, document, headers = self._answer(body)
        if fault is not None:
            if fault.drop:
                self.close_connection = True
                return
            status, document, headers = fault.status, {"message": "fault"}, fault.headers
        content = b"" if document is None else json.dumps(document).encode()
        if forge.lie is not None:
            status, headers, content = forge.lie(status, headers, content)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle

    def _answer(self, body: Any) -> tuple[int, Any, dict[str, str]]:
        github = self.forge.flavour == "github"
        token = self.headers.get("Authorization" if github else "PRIVATE-TOKEN") or ""
        self.forge.seen_tokens.add(token)
        if token != (f"Bearer {TOKEN}" if github else TOKEN):
            return 401, {"message": "Bad credentials"}, {}
        parts = urlsplit(self.path)
        if github and parts.path == "/graphql":
            return self._graphql(body)
        many = (
            r"/repos/acme/ml/issues/7/comments"
            if github
            else r"/projects/(?:42|acme%2Fml)/merge_requests/7/notes"
        )
        one = r"/repos/acme/ml/issues/comments/(\d+)" if github else rf"{many}/(\d+)"
        if re.fullmatch(many, parts.path):
            return self._create(body) if self.command == "POST" else self._page(parts.query)
        found = re.fullmatch(one, parts.path)
        notes = {note.id: note for note in self.forge.notes}
        note = notes.get(int(found[1])) if found else None
        if note is None:
            return 404, {"message": "Not Found"}, {}
        if self.command != "GET" and note.author != self.forge.user:
            return 403, {"message": "403 Forbidden"}, {}
        if self.command == "DELETE":
            self.forge.notes.remove(note)
            return 204, None, {}
        if self.command == ("PATCH" if github else "PUT"):
            note.body = body["body"]
            return 200, self._shown(note), {}
        return 405, {"message": "Method Not Allowed"}, {}

    def _create(self, body: Any) -> tuple[int, Any, dict[str, str]]:
        if len(body["body"]) > 65_536:
            return 422, {"message": "Body is too long (maximum is 65536 characters)"}, {}
        return 201, self._shown(self.forge.add(body["body"])), {}

    def _page(self, query: str) -> tuple[int, Any, dict[str, str]]:
        asked = parse_qs(query)
        size = min(int(asked.get("per_page", ["30"])[0]), self.forge.page_size)
        page = int(asked.get("page", ["1"])[0])
        notes = self.forge.notes[(page - 1) * size : page * size]
        headers = {}
        if page * size < len(self.forge.notes):
            path = urlsplit(self.path).path
            url = f"{self.forge.url}{path}?per_page={size}&page={page + 1}"
            headers["Link"] = f'<{url}>; rel="next", <{url}>; rel="last"'
        return 200, [self._shown(note) for note in notes], headers

    def _graphql(self, body: Any) -> tuple[int, Any, dict[str, str]]:
        wanted = body["variables"]["id"]
        for note in self.forge.notes:
            if f"node-{note.id}" == wanted and "minimizeComment" in body["query"]:
                note.hidden = True
                return 200, {"data": {"minimizeComment": {}}}, {}
        return 200, {"errors": [{"message": "Could not resolve to a node"}]}, {}

    def _shown(self, note: Note) -> dict[str, Any]:
        extra = {"node_id": f"node-{note.id}"} if self.forge.flavour == "github" else {}
        return {"id": note.id, "body": note.body, "system": note.system, **extra}


@contextmanager
def running(forge: FakeForge) -> Iterator[FakeForge]:
    """Serve it on a free port of this machine."""
    handler = type("Handler", (_Handler,), {"forge": forge})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    forge.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
