"""Requests to a loopback cloud and answers of it, kept whole; whose a request is, by its token."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
LAUNCHER, GUEST = "launcher", "guest"


@dataclass
class Asked:
    """What any request is made of."""

    environ: Environ
    body: bytes

    @property
    def path(self) -> str:
        return str(self.environ.get("PATH_INFO", "/"))

    @property
    def method(self) -> str:
        return str(self.environ["REQUEST_METHOD"])

    @cached_property
    def query(self) -> dict[str, str]:
        text = self.environ.get("QUERY_STRING", "")
        return dict(parse_qsl(text, keep_blank_values=True))

    def header(self, name: str) -> str | None:
        value: Any = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)


@dataclass
class Answer:
    """A response kept whole, so that it can be changed, replayed or thrown away."""

    status: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @classmethod
    def of(cls, app: Wsgi, request: Asked) -> "Answer":
        answer = cls("")

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            answer.status, answer.headers = status, headers

        environ = dict(request.environ)
        environ["wsgi.input"] = io.BytesIO(request.body)
        answer.body = b"".join(app(environ, start))
        return answer

    @property
    def ok(self) -> bool:
        return self.status.startswith("2")

    def send(self, start: StartResponse) -> Iterable[bytes]:
        kept = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        start(self.status, [*kept, ("Content-Length", str(len(self.body)))])
        return [self.body]


@dataclass
class TokenRequest(Asked):
    """`action` is the vendor's own word for what is asked, of one of its services."""

    action: str = ""
    service: str = ""

    @classmethod
    def read(cls, environ: Environ) -> "TokenRequest":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
            return cls(environ, environ["wsgi.input"].read())
        return cls(environ, environ["wsgi.input"].read(length) if length else b"")

    @property
    def bearer(self) -> str:
        """The token it bears; a guest's names its machine."""
        return (self.header("authorization") or "").removeprefix("Bearer ")

    @property
    def who(self) -> str | None:
        """Whose token it bears."""
        if self.bearer == "launcher-token":
            return LAUNCHER
        return GUEST if self.bearer.startswith("guest-") else None
