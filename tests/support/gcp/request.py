"""One request to a loopback cloud that knows people by tokens: whose it is, and what it asks."""

from dataclasses import dataclass

from tests.support.aws.request import Asked, Environ

LAUNCHER, GUEST = "launcher", "guest"


@dataclass
class Request(Asked):
    """`action` is the vendor's own word for what is asked, of one of its services."""

    action: str = ""
    service: str = ""

    @classmethod
    def read(cls, environ: Environ) -> "Request":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
            return cls(environ, environ["wsgi.input"].read())
        return cls(environ, environ["wsgi.input"].read(length) if length else b"")

    @property
    def who(self) -> str | None:
        """Whose token it bears."""
        token = (self.header("authorization") or "").removeprefix("Bearer ")
        if token == "launcher-token":
            return LAUNCHER
        return GUEST if token.startswith("guest-") else None
