"""An engine that runs a service on this machine: to try `mlbroker service guard`, and for tests.

    python scripts/service_engine.py --run 'python serve.py' --target-rps 20 --most 6

It starts copies of the command, each told its port in PORT, scales them as SkyServe does, and
stands before them: who would wait longer than the queue lasts is answered 429. Its maximum is
moved through the control port, always with an end, at which it falls back by itself.
Standard library only.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

LOOK_S = 0.2
# So long a replica that has ended is still told of.
REMEMBERED_S = 3600.0
GRACE_S = 1.0


@dataclass
class Replica:
    """A copy of the command; paid for from `since` until `until`."""

    name: str
    port: int
    process: asyncio.subprocess.Process
    since: float
    until: float | None = None
    ready: bool = False
    inside: int = 0


@dataclass
class Lease:
    """At most so many until then, and what holds after it."""

    most: int
    until: float
    then: int


@dataclass
class Engine:
    """All of it. `most` is the engine's own maximum, and holds where no lease says otherwise."""

    options: argparse.Namespace
    replicas: list[Replica] = field(default_factory=list)
    lease: Lease | None = None
    asked: deque[float] = field(default_factory=deque)
    requests: int = 0
    turned_away: int = 0
    target: int = 0
    differs_since: float | None = None
    started: int = 0

    def maximum(self) -> int:
        own, lease = self.options.most, self.lease
        if lease is None:
            return int(own)
        return min(own, lease.most if time.time() < lease.until else lease.then)

    def paid(self) -> list[Replica]:
        return [each for each in self.replicas if each.until is None]

    def ready(self) -> list[Replica]:
        return [each for each in self.paid() if each.ready]

    def rate(self) -> float:
        since = time.monotonic() - self.options.window_s
        while self.asked and self.asked[0] < since:
            self.asked.popleft()
        return len(self.asked) / float(self.options.window_s)

    def wanted(self) -> int:
        """After the delays; never below the fewest, and without a maximum of the lease."""
        needed = math.ceil(self.rate() / self.options.target_rps - 1e-9)
        needed = min(max(needed, self.options.least), self.options.most)
        now = time.monotonic()
        if needed == self.target:
            self.differs_since = None
            return self.target
        self.differs_since = now if self.differs_since is None else self.differs_since
        delay = self.options.upscale_s if needed > self.target else self.options.downscale_s
        if now - self.differs_since >= delay:
            self.target, self.differs_since = needed, None
        return self.target

    async def scale(self) -> None:
        """Forever: renew what is ready, start and stop."""
        while True:
            for each in self.paid():
                if each.process.returncode is not None:
                    each.until = time.time()
                elif not each.ready:
                    each.ready = await answers(each.port, self.options.readiness)
            aim = min(self.wanted(), self.maximum())
            paid = self.paid()
            for _ in range(aim - len(paid)):
                await self.start()
            for each in paid[aim:][::-1]:
                each.ready = False
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(each.process.pid, signal.SIGKILL)
                await each.process.wait()
                each.until = time.time()
            old = time.time() - REMEMBERED_S
            self.replicas = [e for e in self.replicas if e.until is None or e.until > old]
            await asyncio.sleep(LOOK_S)

    async def start(self) -> None:
        port = free_port()
        process = await asyncio.create_subprocess_shell(
            self.options.run,
            cwd=self.options.folder,
            env={**os.environ, "PORT": str(port)},
            start_new_session=True,
        )
        self.started += 1
        self.replicas.append(Replica(f"{self.started}", port, process, time.time()))

    async def front(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a connection: passed on, or turned away."""
        head, body = await request(reader)
        self.requests += 1
        self.asked.append(time.monotonic())
        ready = self.ready()
        room = len(ready) * (1 + self.options.target_rps * self.options.queue_s)
        if not ready or sum(each.inside for each in ready) >= room:
            self.turned_away += 1
            writer.write(
                answer(429, {"error": "too many requests"}, f"Retry-After: {retry(self)}\r\n")
            )
        else:
            replica = min(ready, key=lambda each: each.inside)
            replica.inside += 1
            try:
                await passed_on(replica.port, head + body, writer)
            except OSError:
                writer.write(answer(503, {"error": "the replica was stopped"}))
            finally:
                replica.inside -= 1
        await writer.drain()

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """GET / tells how it is; PUT / moves the maximum."""
        head, body = await request(reader)
        if head.startswith(b"PUT"):
            try:
                told = json.loads(body)
                lease = Lease(int(told["most"]), float(told["until_s"]), int(told["then"]))
            except (ValueError, KeyError, TypeError):
                writer.write(answer(400, {"error": "most, until_s and then are wanted"}))
                await writer.drain()
                return
            self.lease = lease
        writer.write(answer(200, self.told()))
        await writer.drain()

    def told(self) -> dict[str, Any]:
        return {
            "now_s": time.time(),
            "running": len(self.paid()),
            "ready": len(self.ready()),
            "wanted": self.target,
            "most": self.maximum(),
            "lease": None if self.lease is None else vars(self.lease),
            "requests_per_s": self.rate(),
            "requests": self.requests,
            "turned_away": self.turned_away,
            "replica_s": sum((e.until or time.time()) - e.since for e in self.replicas),
            "replicas": [[e.name, e.since, e.until] for e in self.replicas],
        }


def retry(engine: Engine) -> int:
    """Seconds after which somebody who was turned away may find room."""
    return max(1, math.ceil(engine.options.queue_s))


async def request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body; of a connection that ends first, what came."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":", 1)[1])
        return head, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise ConnectionResetError from None


async def passed_on(port: int, whole: bytes, writer: asyncio.StreamWriter) -> None:
    """The replica's answer, as it comes. Each request has a connection of its own."""
    first, _, rest = whole.partition(b"\r\n")
    kept, _, body = rest.partition(b"\r\n\r\n")
    lines = [line for line in kept.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    head = b"\r\n".join([first, *lines, b"Connection: close"])
    replica_reader, replica = await asyncio.open_connection("127.0.0.1", port)
    try:
        replica.write(head + b"\r\n\r\n" + body)
        while data := await replica_reader.read(65536):
            writer.write(data)
    finally:
        replica.close()


async def answers(port: int, path: str) -> bool:
    """Whether the replica's readiness probe succeeds."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return (await asyncio.wait_for(reader.readline(), 2.0)).split()[1:2] == [b"200"]
        finally:
            writer.close()
    except (OSError, TimeoutError):
        return False


def answer(status: int, value: object, more: str = "") -> bytes:
    """A whole answer, after which the connection ends."""
    body = json.dumps(value).encode()
    word = {200: "OK", 400: "Bad Request", 429: "Too Many Requests"}.get(status, "Unavailable")
    head = f"HTTP/1.1 {status} {word}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def main(options: argparse.Namespace) -> None:
    """Serve until a signal comes; all replicas end with it."""
    engine, done = Engine(options, target=options.least), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)

    def closing(serve: Any) -> Any:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await serve(reader, writer)
            writer.close()

        return served

    front = await asyncio.start_server(closing(engine.front), "127.0.0.1", options.port)
    control = await asyncio.start_server(closing(engine.control), "127.0.0.1", options.control)
    ports = [each.sockets[0].getsockname()[1] for each in (front, control)]
    print(f"requests: http://127.0.0.1:{ports[0]}  engine: loopback:http://127.0.0.1:{ports[1]}",
          flush=True)  # fmt: skip
    scaling = asyncio.create_task(engine.scale())
    await asyncio.wait([scaling, asyncio.create_task(done.wait())], return_when="FIRST_COMPLETED")
    scaling.cancel()
    for each in engine.paid():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
    told = engine.told()
    print(f"{told['requests']} requests, {told['turned_away']} turned away; replicas ran for "
          f"{told['replica_s']:.1f} s")  # fmt: skip


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", required=True, help="command of a replica; its port is in PORT")
    parser.add_argument("--folder", default=".", help="where it is started")
    parser.add_argument("--readiness", default="/", help="path that is answered 200 once ready")
    parser.add_argument("--least", type=int, default=1)
    parser.add_argument("--most", type=int, default=8, help="the engine's own maximum")
    parser.add_argument("--target-rps", type=float, required=True, help="of one replica")
    parser.add_argument("--window-s", type=float, default=2.0, help="of the rate it goes by")
    parser.add_argument("--upscale-s", type=float, default=1.0)
    parser.add_argument("--downscale-s", type=float, default=5.0)
    parser.add_argument("--queue-s", type=float, default=1.0, help="longest wait in the queue")
    parser.add_argument("--port", type=int, default=0, help="for requests")
    parser.add_argument("--control", type=int, default=0, help="for the guard")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
