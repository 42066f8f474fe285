"""A way to a server on loopback, cut at a COMMIT: before it arrives, or before its answer."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

COMMIT = b"COMMIT\0"


@dataclass
class Proxy:
    """While `cut` is set, the next connection that commits is lost: the server gets the commit, or
    with `before` it does not. Then all is as it was.
    """

    target: int
    port: int
    cut: bool = False
    before: bool = False
    cuts: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # the test is over
            server = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [client, server]
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self.cut and COMMIT in data:
                    self.cut = False
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    if not self.before:
                        server.sendall(data)
                    break
                server.sendall(data)
            # The server reads to the end what it was sent.
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                with contextlib.suppress(OSError):
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cutting_proxy(target: int) -> Iterator[Proxy]:
    """Between clients and this port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(target, listener.getsockname()[1])
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    for each in proxy.sockets:
        each.close()
