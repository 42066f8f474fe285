"""Starts the service's command, waits until it is ready, loads it as it is told, and ends it."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any, Dict, Optional

from mlbroker_agent.processes import adopt_orphans, die_with_parent, end_tree

from .client import SERVED, Client
from .window import Aim, Load

HOST = "127.0.0.1"
READY_EVERY_S = 0.1
PROBE_LIMIT_S = 15.0
SETTLE_LIMIT_S = 10.0
_TAIL = 2000


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


async def _measure(spec: Dict[str, Any], output: IO[bytes]) -> None:
    loop, task = asyncio.get_event_loop(), asyncio.current_task()
    assert task is not None
    asked_for: "asyncio.Queue[Dict[str, Any]]" = asyncio.Queue()
    threading.Thread(target=_listen, args=(asked_for, loop, task), daemon=True).start()
    for key in ("setup", "command"):
        if not spec[key]:
            continue
        process = subprocess.Popen(
            ["/bin/bash", "-c", spec[key]],
            cwd=spec["cwd"],
            env={**os.environ, **spec["env"]},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        if key == "setup":
            code = None
            until_s = time.monotonic() + spec["ready_s"]
            while code is None and time.monotonic() < until_s:
                await asyncio.sleep(READY_EVERY_S)
                code = process.poll()
            if code != 0:
                _say(end="setup", exit=code, output=_tail(output))
                return
    client = Client(HOST, spec["port"])
    try:
        if await _ready(spec, client, process, output):
            await _serve(spec, client, process, output, asked_for)
    finally:
        client.close()


async def _ready(
    spec: Dict[str, Any], client: Client, process: "subprocess.Popen[bytes]", output: IO[bytes]
) -> bool:
    began = time.monotonic()
    last = "no connection"
    while time.monotonic() - began < spec["ready_s"]:
        if process.poll() is not None:
            _say(end="exited", exit=process.returncode, output=_tail(output))
            return False
        try:
            asked = client.ask(spec["readiness"], None, time.monotonic)
            last = (await asyncio.wait_for(asked, PROBE_LIMIT_S)).kind
        except asyncio.TimeoutError:
            last = "no answer"
        if last == SERVED:
            _say(ready_s=time.monotonic() - began)
            return True
        await asyncio.sleep(READY_EVERY_S)
    _say(end="not ready", last=last, output=_tail(output))
    return False


async def _serve(
    spec: Dict[str, Any],
    client: Client,
    process: "subprocess.Popen[bytes]",
    output: IO[bytes],
    asked_for: "asyncio.Queue[Dict[str, Any]]",
) -> None:
    bodies = tuple(body.encode() for body in spec["bodies"])
    aim = Aim(spec["path"], bodies, spec["measure"], spec["within_s"], spec["give_up_s"])
    load = Load(client, aim, spec["seed"])
    while True:
        asked = await asked_for.get()
        settled = not asked.pop("settle") or await load.settle(SETTLE_LIMIT_S)
        told = await load.window(**asked)
        if process.poll() is not None:
            _say(end="exited", exit=process.returncode, output=_tail(output))
            return
        _say(window={**told, "settled": settled})


def _listen(
    asked_for: "asyncio.Queue[Dict[str, Any]]",
    loop: asyncio.AbstractEventLoop,
    task: "asyncio.Task[None]",
) -> None:
    """Windows to come, from the input; its end is the end of the measurement."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(asked_for.put_nowait, json.loads(line))
    loop.call_soon_threadsafe(task.cancel)


def _tail(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - _TAIL))
    return output.read().decode("utf-8", "replace")


def _say(**message: Optional[Any]) -> None:
    print(json.dumps(message), flush=True)
