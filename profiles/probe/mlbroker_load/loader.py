"""Starts the service's command, waits until it is ready, finds what it serves, and ends it.

All of it where the service runs: nothing of a window has to travel, and a line that is slow is
in no latency.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any, Dict, Optional, Tuple

from mlbroker_agent.processes import adopt_orphans, die_with_parent, end_tree

from .client import SERVED, Client
from .search import Gone, Search
from .window import Aim, Load

HOST = "127.0.0.1"
READY_EVERY_S = 0.1
# Beside the windows: what one request takes by itself, and what is read off all of them.
BESIDE_S = 15.0
# Load for less says nothing.
LEAST_S = 10.0
_TAIL = 2000
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")

Spec = Dict[str, Any]


def main() -> int:
    """Serve one measurement; whatever happens, no process of the service is left."""
    spec = json.loads(sys.stdin.readline())
    adopt_orphans()
    try:
        with tempfile.TemporaryFile() as output, suppress(asyncio.CancelledError):
            asyncio.run(_measure(spec, output))
    finally:
        end_tree(os.getpid(), spec["grace_s"])
    return 0


async def _measure(spec: Spec, output: IO[bytes]) -> None:
    began_s = time.monotonic()
    loop, task = asyncio.get_event_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    if spec["control"]:
        threading.Thread(target=_listen, args=(loop, task), daemon=True).start()
    if await _answers(spec["port"]):
        _say(end="taken")
        return
    if spec["setup"]:
        process, code = _started(spec, "setup", output), None
        while code is None and time.monotonic() - began_s < spec["ready"]["within_s"]:
            await asyncio.sleep(READY_EVERY_S)
            code = process.poll()
        if code != 0:
            _say(end="setup", exit=code, output=_tail(output))
            return
    process = _started(spec, "command", output)
    client = Client(HOST, spec["port"])
    try:
        if await _ready(spec, client, process, output):
            used_s = time.monotonic() - began_s
            await _search(spec, used_s, client, process, output)
    finally:
        client.close()


def _started(spec: Spec, key: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/bin/bash", "-c", spec[key]],
        cwd=spec["cwd"],
        env={**os.environ, **spec["env"]},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


async def _answers(port: int) -> bool:
    """Whether something answers on the port before the service is there."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def _ready(
    spec: Spec, client: Client, process: "subprocess.Popen[bytes]", output: IO[bytes]
) -> bool:
    """Ask as the engine's probe does: with its body, where it has one, and its headers."""
    probe, began = spec["ready"], time.monotonic()
    last = "no connection"
    path, body, headers = _filled(spec)
    while time.monotonic() - began < probe["within_s"]:
        if process.poll() is not None:
            _say(end="exited", exit=process.returncode, output=_tail(output))
            return False
        try:
            asked = client.ask(path, body, time.monotonic, headers)
            last = (await asyncio.wait_for(asked, probe["timeout_s"])).kind
        except asyncio.TimeoutError:
            last = "no answer"
        if last == SERVED:
            _say(ready_s=time.monotonic() - began)
            return True
        await asyncio.sleep(READY_EVERY_S)
    _say(end="not ready", last=last, output=_tail(output))
    return False


def _filled(spec: Spec) -> Tuple[str, Optional[bytes], Dict[str, str]]:
    """Path, body and headers of the probe: SkyPilot puts a job's variables where their names are,
    $MODEL and ${MODEL}. Values of secrets are known on the machine only."""
    known, probe = {**os.environ, **spec["env"]}, spec["ready"]

    def value(found: "re.Match[str]", quoted: bool) -> str:
        name = found.group(1) or found.group(2)
        if name not in probe["variables"] or name not in known:
            return found.group()
        return json.dumps(known[name])[1:-1] if quoted else known[name]

    def fill(text: str, quoted: bool = False) -> str:
        return _VARIABLE.sub(lambda found: value(found, quoted), text)

    body = None if probe["body"] is None else fill(probe["body"], quoted=True).encode()
    return fill(probe["path"]), body, {name: fill(told) for name, told in probe["headers"].items()}


async def _search(
    spec: Spec, used_s: float, client: Client, process: "subprocess.Popen[bytes]", output: IO[bytes]
) -> None:
    budget_s = spec["budget_s"]
    if spec["report_by_s"] is not None:
        # The machine ends soon after that, whoever measures.
        left_s = spec["report_by_s"] - used_s - BESIDE_S
        if left_s < min(LEAST_S, budget_s):
            _say(end="no time", used_s=used_s)
            return
        budget_s = min(budget_s, left_s)
    bodies = tuple(body.encode() for body in spec["bodies"])
    aim = Aim(spec["path"], bodies, spec["measure"], spec["within_s"], spec["give_up_s"])
    search = Search(Load(client, aim, spec["seed"]), lambda: process.poll() is None, _say)
    try:
        _say(**await search.run(spec["share"], spec["within_s"], budget_s))
    except Gone:
        _say(end="exited", exit=process.returncode, output=_tail(output))


def _listen(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    """The end of the input is the end of the measurement."""
    sys.stdin.read()
    loop.call_soon_threadsafe(task.cancel)


def _tail(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - _TAIL))
    return output.read().decode("utf-8", "replace")


def _say(**message: Optional[Any]) -> None:
    print(json.dumps(message), flush=True)
