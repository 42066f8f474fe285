"""A plain HTTP/1.1 client that keeps its connections, and notes when the first token came."""

import asyncio
import json
from typing import AsyncIterator, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

# Of a longer body only the end is waited for: whether it is an error is not read.
MOST_CHECKED = 1 << 20
_LINE_LIMIT = 1 << 18

SERVED = "served"
ERROR_BODY = "200 with an error in the body"
_NONE: Dict[str, str] = {}


class Answer(NamedTuple):
    """What came: SERVED or why not; seconds on the loop's clock; tokens where they were streamed.

    Tokens are the `data:` events of an event stream, of another chunked answer its chunks.
    """

    kind: str
    first_s: float = 0.0
    last_s: float = 0.0
    tokens: int = 0


class Client:
    """Requests to one place; as many connections as there are requests under way."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: List[Tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(
        self,
        path: str,
        body: Optional[bytes],
        clock: Callable[[], float],
        headers: Mapping[str, str] = _NONE,
    ) -> Answer:
        """Send it, and read the whole answer. A connection that the server has closed meanwhile is
        replaced once."""
        own = {"host": "%s:%d" % (self._host, self._port), "accept": "*/*"}
        if body is not None:
            own["content-type"] = "application/json"
        own.update((name.lower(), value) for name, value in headers.items())
        if body is not None:
            own["content-length"] = str(len(body))
        head = "%s %s HTTP/1.1\r\n" % ("GET" if body is None else "POST", path)
        head += "".join("%s: %s\r\n" % each for each in own.items())
        request = head.encode() + b"\r\n" + (body or b"")
        while self._idle:
            reader, writer = self._idle.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
                continue
            try:
                return await self._exchange(reader, writer, request, clock)
            except _Stale:
                break
        try:
            reader, writer = await asyncio.open_connection(
                self._host, self._port, limit=_LINE_LIMIT
            )
        except OSError:
            return Answer("no connection")
        try:
            return await self._exchange(reader, writer, request, clock)
        except _Stale:
            return Answer("closed without an answer")

    def close(self) -> None:
        """Let all connections go."""
        for _, writer in self._idle:
            writer.close()
        self._idle = []

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
        clock: Callable[[], float],
    ) -> Answer:
        keep = False
        try:
            try:
                writer.write(request)
                await writer.drain()
                line = await reader.readline()
            except OSError:
                raise _Stale from None
            if not line:
                raise _Stale
            status = int(line.split()[1])
            while 100 <= status < 200:  # not the answer yet
                await _headers(reader)
                status = int((await reader.readline()).split()[1])
            headers = await _headers(reader)
            answer, whole = await _body(reader, status, headers, clock)
            keep = whole and headers.get("connection", "").lower() != "close"
            return answer
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            return Answer("broken off")
        finally:
            if keep:
                self._idle.append((reader, writer))
            else:
                writer.close()


class _Stale(Exception):
    """The connection was closed before a byte of the answer."""


async def _headers(reader: asyncio.StreamReader) -> Dict[str, str]:
    found: Dict[str, str] = {}
    while True:
        line = await reader.readline()
        if line in (b"\r\n", b"\n"):
            return found
        if not line:
            raise ValueError("the headers have no end")
        name, _, value = line.decode("latin-1").partition(":")
        found[name.strip().lower()] = value.strip()


async def _body(
    reader: asyncio.StreamReader, status: int, headers: Dict[str, str], clock: Callable[[], float]
) -> Tuple[Answer, bool]:
    """The answer, and whether the connection may serve again."""
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    length = headers.get("content-length")
    events = headers.get("content-type", "").startswith("text/event-stream")
    first_s = last_s = clock()
    parts, size, pieces, tail, tokens, error = [], 0, 0, b"", 0, False
    if chunked:
        stream = _chunks(reader)
    elif status in (204, 304):
        stream = _plain(reader, 0)
    else:
        stream = _plain(reader, None if length is None else int(length))
    async for piece in stream:
        last_s = clock()
        pieces += 1
        if events:
            *lines, tail = (tail + piece).split(b"\n")
            tail = tail[-MOST_CHECKED:]
            for line in lines:
                if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
                    continue
                tokens += 1
                error = error or _is_error(line[5:])
                if tokens == 1:
                    first_s = last_s
            continue
        size += len(piece)
        if pieces == 1:
            first_s = last_s
        if size <= MOST_CHECKED:
            parts.append(piece)
    if not 200 <= status < 300:
        kind = "status %d" % status
    elif error or (not events and size <= MOST_CHECKED and _is_error(b"".join(parts))):
        kind = ERROR_BODY
    else:
        kind = SERVED
    told = tokens if events else pieces if chunked else 0
    return Answer(kind, first_s, last_s, told), chunked or length is not None


def _is_error(body: bytes) -> bool:
    """Whether it is a JSON object with an `error` that is not empty."""
    if b'"error"' not in body:
        return False
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document.get("error"))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            await _headers(reader)
            return
        yield await reader.readexactly(size)
        await reader.readline()


async def _plain(reader: asyncio.StreamReader, length: Optional[int]) -> AsyncIterator[bytes]:
    left = length
    while left is None or left > 0:
        piece = await reader.read(65536 if left is None else min(left, 65536))
        if not piece:
            if left:
                raise ValueError("the body is too short")
            return
        if left is not None:
            left -= len(piece)
        yield piece
