"""One request to the loopback cloud: whose it is, and what of whom it asks."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from tests.support.aws.request import Environ


@dataclass
class Request:
    """`action` is the id of the discovery document's method, or the bucket's own word for it."""

    environ: Environ
    body: bytes
    action: str = ""

    @classmethod
    def read(cls, environ: Environ) -> "Request":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
            return cls(environ, environ["wsgi.input"].read())
        return cls(environ, environ["wsgi.input"].read(length) if length else b"")

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

    @property
    def token(self) -> str:
        """The bearer's token."""
        return str(self.environ.get("HTTP_AUTHORIZATION", "")).removeprefix("Bearer ")

    def header(self, name: str) -> str | None:
        value: Any = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)
