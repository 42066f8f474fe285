"""A loopback cloud standing: its server, its clock that ticks, and answers that get lost."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import format_datetime
from typing import Any

from tests.support.loopback_clock import VirtualClock
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def date_time_string(self, timestamp: float | None = None) -> str:
        """The vendor's own time in each answer."""
        app: Any = self.server.app
        return format_datetime(app.clock.now(), usegmt=True)

    def log(self, *_: Any) -> None:
        """Requests are kept in `calls`, not printed."""

    def run_wsgi(self) -> None:
        with suppress(ConnectionAbortedError):
            super().run_wsgi()


class KeepAlive(Quiet):
    protocol_version = "HTTP/1.1"


def lose(environ: dict[str, Any]) -> Iterable[bytes]:
    """Whoever asked gets no answer."""
    connection = environ["werkzeug.socket"]
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


@contextmanager
def standing(
    world: Any,
    living: Callable[[], Iterable[Any]],
    handler: type[Quiet],
    *,
    frozen: bool,
    port: int,
) -> Iterator[None]:
    """Serve the application `world`; in the end its machines are ended, and nothing is left."""
    server = make_server("127.0.0.1", port, world, threaded=True, request_handler=handler)
    world.url = f"http://127.0.0.1:{server.server_port}"
    stop = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    ]
    if not frozen:
        threads.append(threading.Thread(target=tick, args=(world.clock, stop), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for vm in list(living()):
            world.guest.end(vm)
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


def tick(clock: VirtualClock, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        clock.tick()
