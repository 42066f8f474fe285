"""Serves a site on loopback, to who has the token in its address, and to nobody else."""

import secrets
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.ui.site import Site

HOST = "127.0.0.1"
EVENTS = "events"
# So often the site is asked whether anything has changed.
LOOK_EVERY_S = 1.0
# Machines are asked no more often than that, and only while a page is open.
ASK_EVERY_S = 10.0
# What says nothing for so long is taken for dead by browsers, and a dead reader is found out.
ALIVE_EVERY_S = 15.0
# A reader that takes nothing is given up.
_SEND_WITHIN_S = 30.0
_MOST_WAITING = 32
_NOTHING = "Nothing is here. The address has a token."
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server(ThreadingHTTPServer):
    """Listens from its making on; `url` is for the reader alone."""

    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.token = secrets.token_urlsafe(24)
        self.waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self.open_pages = threading.Event()
        self.over = threading.Event()
        # A page of no version would be stale at once.
        site.look()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise InputError(
                f"port {port} cannot be listened on: {error.strerror}",
                where="--port",
                hint="Leave it out, and one that is free is taken.",
            ) from error

    @property
    def url(self) -> str:
        """The address of the first page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def serve(self) -> None:
        """Until somebody shuts it down, or the process is interrupted."""
        threading.Thread(target=self._watch, daemon=True).start()
        threading.Thread(target=self._ask, daemon=True).start()
        try:
            self.serve_forever(poll_interval=0.2)
        finally:
            self.over.set()
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no error."""

    def _watch(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            self.site.look()

    def _ask(self) -> None:
        while not self.over.is_set():
            if self.open_pages.wait(LOOK_EVERY_S):
                self.open_pages.clear()
                # A machine that cannot be asked is said in its row; anything else is said by the
                # pages, which read the same.
                with suppress(Exception):
                    self.site.ask()
                self.over.wait(ASK_EVERY_S)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _SEND_WITHIN_S
    server_version = "mlbroker"
    sys_version = ""

    def do_GET(self) -> None:
        name = self._asked_for()
        if name is None:
            self._answer(HTTPStatus.NOT_FOUND, _NOTHING)
        elif name == EVENTS:
            self._tell_news()
        else:
            self._answer(HTTPStatus.OK, self.server.site.page(name), "text/html")

    def do_HEAD(self) -> None:
        if self._asked_for() == EVENTS:
            self._answer(HTTPStatus.OK, "", "text/event-stream")
        else:
            self.do_GET()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None:
        """Addresses hold the token: they are written nowhere."""

    def _asked_for(self) -> str | None:
        """The page's name, of who knows the token and came by no other name of this machine."""
        here = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        parts = self.path.split("?")[0].split("/")
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0] not in here or len(parts) != 3:
            return None
        known = secrets.compare_digest(parts[1].encode(), self.server.token.encode())
        found = parts[2] == EVENTS or parts[2] in self.server.site.makers
        return parts[2] if known and found else None

    def _refuse(self) -> None:
        if self._asked_for() is None:
            self._answer(HTTPStatus.NOT_FOUND, _NOTHING)
        else:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "These pages are read, and nothing else.")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _tell_news(self) -> None:
        """Server-sent events: the site's version, and again whenever it is another."""
        if not self.server.waiting.acquire(blocking=False):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are open.")
            return
        try:
            self.send_response(HTTPStatus.OK)
            for header, value in _HEADERS.items():
                self.send_header(header, value)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            known = ""
            while not self.server.over.is_set():
                self.server.open_pages.set()
                found = self.server.site.news(known, ALIVE_EVERY_S)
                line = ": alive" if found == known else f"data: {found}"
                self.wfile.write(f"{line}\n\n".encode())
                known = found
        except OSError:
            return  # the reader is gone
        finally:
            self.server.waiting.release()
