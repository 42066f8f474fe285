"""Servers of known capacity, by asyncio: workers on a clock of their own, so that what the machine
adds does not pile up, and the same desks played for long are the truth.

    python tests/support/known_servers.py fixed 8080
"""

import asyncio
import heapq
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Desk:
    """So many workers with one queue. `service_s` is told how many are inside; more than `most`
    inside are turned away."""

    service_s: Callable[[random.Random, int], float]
    workers: int = 1
    most: int = 10**9
    tokens: int = 0  # each comes TOKEN_S after the one before, behind the desk
    free: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def arrive(self, now: float) -> float | None:
        """When the one who comes now is done; None where he is turned away."""
        while self.inside and self.inside[0] <= now:
            heapq.heappop(self.inside)
        if len(self.inside) >= self.most:
            return None
        takes = self.service_s(self.chance, len(self.inside))
        start = now if len(self.free) < self.workers else max(now, heapq.heappop(self.free))
        heapq.heappush(self.free, start + takes)
        heapq.heappush(self.inside, start + takes)
        return start + takes


DESKS: dict[str, Callable[[], Desk]] = {
    "fixed": lambda: Desk(lambda _, __: 0.02),
    "workers": lambda: Desk(lambda _, __: 0.05, workers=4),
    "random": lambda: Desk(lambda chance, _: chance.expovariate(1 / 0.015)),
    "streaming": lambda: Desk(lambda _, __: 0.03, tokens=5),
    "degrading": lambda: Desk(lambda _, inside: 0.014 * (1 + 0.05 * min(inside, 8))),
    "shedding": lambda: Desk(lambda _, __: 0.02, most=4),
}
TOKEN_S = 0.002
WITHIN_S = 0.2
SHARE = 0.95


def truth_rps(name: str, *, requests: int = 150_000) -> float:
    """The greatest rate at which the share is in time, by playing the desk for long."""
    low, high = 5.0, 200.0
    for _ in range(13):
        rate = (low * high) ** 0.5
        desk, chance, now, good = DESKS[name](), random.Random(2), 0.0, 0
        for _ in range(requests):
            now += chance.expovariate(rate)
            done = desk.arrive(now)
            good += done is not None and done + desk.tokens * TOKEN_S - now <= WITHIN_S
        low, high = (rate, high) if good >= SHARE * requests else (low, rate)
    return (low * high) ** 0.5


async def serve(name: str, port: int) -> None:
    """Answer until killed."""
    desk, loop = DESKS[name](), asyncio.get_running_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            arrived, length = loop.time(), 0
            while (header := await reader.readline()).strip():
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            await reader.readexactly(length)
            if line.split()[1] == b"/health":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            elif (done := desk.arrive(arrived)) is None:
                writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
            elif desk.tokens:
                await stream(writer, done)
            else:
                await asyncio.sleep(done - loop.time())
                body = json.dumps({"label": "x"}).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                writer.write(head + body)
            await writer.drain()
        writer.close()

    async def stream(writer: asyncio.StreamWriter, done: float) -> None:
        """The first token when the desk is done, the others behind it."""
        await asyncio.sleep(done - loop.time())
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(desk.tokens):
            event = b'data: {"token": %d}\n\n' % number
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(TOKEN_S)
        writer.write(b"0\r\n\r\n")

    server = await asyncio.start_server(talk, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
