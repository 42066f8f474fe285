"""The engine of `scripts/service_engine.py` with a small service, and traffic for it."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "scripts" / "service_engine.py"
SERVE = """
import os, time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/health":
            time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        return


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@dataclass(frozen=True)
class ServiceEngine:
    """Where requests go, and where the guard asks."""

    port: int
    control: str

    @property
    def address(self) -> str:
        return f"loopback:{self.control}"

    def told(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.control, timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def traffic(self, rate_rps: float, seconds: float) -> Counter[int]:
        """An open loop; how many were answered with which status."""
        return asyncio.run(_load(self.port, rate_rps, seconds))


@contextmanager
def service_engine(folder: Path, *options: str) -> Iterator[ServiceEngine]:
    """Until the block ends, with all its replicas."""
    (folder / "serve.py").write_text(SERVE)
    run = f"{sys.executable} serve.py"
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--run", run, "--folder", str(folder),
         "--readiness", "/health", *options],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        yield ServiceEngine(int(words[1].rpartition(":")[2]), words[3].removeprefix("loopback:"))
    finally:
        process.terminate()
        process.communicate()


async def _load(port: int, rate_rps: float, seconds: float) -> Counter[int]:
    found: Counter[int] = Counter()

    async def one() -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            words = (await reader.readline()).split()
            found[int(words[1]) if len(words) > 1 else 0] += 1
            await reader.read()
            writer.close()
        except OSError:
            found[0] += 1

    began, number, tasks = time.monotonic(), 0, []
    while time.monotonic() - began < seconds:
        number += 1
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(max(0.0, began + number / rate_rps - time.monotonic()))
    await asyncio.gather(*tasks)
    return found
