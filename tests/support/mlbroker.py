"""Runs the real command line in a state folder of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# A test run started in the background, by nohup or a CI agent, hands down an ignored SIGINT.
SCRIPT = """
import signal
from mlbroker.broker.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
PROGRAM = [sys.executable, "-c", SCRIPT]
# Only what hangs for good is given up: a busy machine may take minutes for what takes a second.
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Cli:
    """`mlbroker` with this state folder, called from this folder."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self, **extra: str) -> dict[str, str]:
        return {
            **os.environ,
            "MLBROKER_HOME": str(self.home),
            "MLBROKER_USER": "tester",
            "NO_COLOR": "1",
            **extra,
        }

    def job(self, run: str, name: str = "job", **fields: Any) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({"name": name, "run": run, **fields}))
        return path

    def __call__(self, *arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def start(self, *arguments: object, **extra: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run_local(
        self, job: Path, *options: object, budget: str = "1", price: str = "1", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return self(
            "run",
            job,
            "--on",
            "local",
            "--local-price",
            price,
            "--budget",
            budget,
            "--yes",
            *options,
            **extra,
        )

    def start_local(self, run: str, budget: str = "1", price: str = "1") -> "subprocess.Popen[str]":
        """A client that runs this on this machine, from the job's first line (`up`) on."""
        client = self.start(
            "run", self.job(run), "--on", "local", "--local-price", price, "--budget", budget,
            "--yes",
        )  # fmt: skip
        assert client.stdout is not None
        assert client.stdout.readline() == "up\n"
        return client

    def ledger(self) -> list[dict[str, Any]]:
        answer = self("ledger", "--json")
        assert answer.returncode == 0, answer.stderr
        rows: list[dict[str, Any]] = json.loads(answer.stdout)["runs"]
        return rows


def wait_for(
    what: Callable[[], Any],
    seconds: float = PATIENCE_S,
    tell: Callable[[], object] = lambda: "",
) -> Any:
    """Poll until `what` is true, and return it; fail, with what there is to tell, if never.

    Between two looks the processor is left, for as long as a look takes, to what is waited for.
    """
    until = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        value = what()
        if value:
            return value
        looked = time.monotonic()
        assert looked < until, f"waited {seconds} s in vain {tell()}"
        time.sleep(max(0.02, looked - began))


def read_until(stream: IO[str] | None, text: str) -> None:
    """Read lines up to the first that holds `text`; fail when they end without it."""
    assert stream is not None
    lines = []
    for line in stream:
        if text in line:
            return
        lines.append(line)
    raise AssertionError(f"{text!r} never came: {lines}")


def command_lines() -> dict[int, bytes]:
    """Of all processes; one that ends meanwhile is left out."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(path.parent.name)] = path.read_bytes()
    return found


def processes_with(marker: str) -> list[int]:
    """Living processes whose command line or environment holds `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if state not in "ZX" and marker.encode() in text:
            found.append(int(entry.name))
    return found


def keepers_of(home: Path) -> list[int]:
    """Supervisor and watchdog of the one run of `home`, which has begun: whatever process started
    them is gone.
    """

    def guests() -> list[int]:
        lines = command_lines()
        return [p for p in processes_with(str(home)) if b"guest.pyz" in lines.get(p, b"")]

    keepers: list[int] = wait_for(lambda: found if len(found := guests()) == 2 else [])
    return keepers
