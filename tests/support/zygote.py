"""Clients that can be killed with -9 at any request: forks of a process that has all loaded.

A fork costs milliseconds where a start costs a second. The process itself never speaks to the
cloud: what the store's library starts does not survive a fork.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.reconcile import Reconciler
from mlbroker.broker.runs.view import View

_SERVICES = ("ec2", "scheduler", "ssm", "sts")
_REGIONS = ("eu-west-1", "us-east-1", "us-west-2")


class HttpClock:
    """The loopback cloud's clock, from another process."""

    def __init__(self, url: str) -> None:
        self._url = url

    def now(self) -> datetime:
        return self._ask(None)

    def sleep(self, seconds: float) -> None:
        self._ask(max(seconds, 0.001))

    def _ask(self, seconds: float | None) -> datetime:
        query = "" if seconds is None else f"?seconds={seconds}"
        method = "GET" if seconds is None else "POST"
        request = urllib.request.Request(f"{self._url}/_clock{query}", method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return datetime.fromisoformat(json.load(answer)["now"])


class Zygote:
    """Its handle in the test: one client at a time."""

    def __init__(self, cloud: str, url: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.support.zygote import serve; serve()"],
            env={**os.environ, **environment, "ZYGOTE_URL": url, "ZYGOTE_CLOUD": cloud},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._hear() == "ready"

    def launch(self, home: Path, run_id: str) -> int:
        """Carry a run as the process that launches it; the exit code, -9 when it was killed."""
        return self._do({"do": "launch", "home": str(home), "run_id": run_id})

    def wind_up(self, home: Path) -> int:
        """Reconcile until nothing is open, as a later process."""
        return self._do({"do": "wind_up", "home": str(home)})

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _do(self, wish: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        print(json.dumps(wish), file=self._process.stdin, flush=True)
        return int(self._hear())

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks clients is gone"
        return line.strip()


def _aws(sleep: Callable[[float], None]) -> Cloud:
    import botocore.endpoint

    from mlbroker.broker.clouds.aws.calls import Calls
    from mlbroker.broker.clouds.aws.cloud import AwsCloud

    botocore.endpoint.time = SimpleNamespace(sleep=sleep)
    calls = Calls()
    for region in _REGIONS:
        calls.client("ec2", region, tries=1)
        for service in _SERVICES:
            calls.client(service, region)
    return AwsCloud(calls)


def _gcp(sleep: Callable[[float], None]) -> Cloud:
    import google.api_core.retry.retry_unary as retrying

    from mlbroker.broker.clouds.gcp.calls import Calls
    from mlbroker.broker.clouds.gcp.cloud import GcpCloud

    retrying.time = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    calls = Calls()
    for kind in ("Instances", "ZoneOperations", "GlobalOperations"):
        calls.client(kind)
    return GcpCloud(calls)


def _azure(sleep: Callable[[float], None]) -> Cloud:
    import azure.core.pipeline.transport._base as transport

    from mlbroker.broker.clouds.azure import calls as azure_calls
    from mlbroker.broker.clouds.azure.cloud import AzureCloud

    transport.time = SimpleNamespace(sleep=sleep)
    azure_calls.WAIT_S = 5.0
    calls = azure_calls.Calls()
    for client in (calls.compute, calls.resources, calls.network):
        assert client
    return AzureCloud(calls)


def _kubernetes(sleep: Callable[[float], None]) -> type[Cloud]:
    import obstore

    from mlbroker.broker import http
    from mlbroker.broker.clouds.kubernetes.cloud import KubernetesCloud

    assert obstore
    http.time = SimpleNamespace(sleep=sleep, time=time.time)
    return KubernetesCloud


# A cloud with its libraries loaded, whose pauses between tries pass on the virtual clock.
# One that keeps something in the state folder is opened there.
_LOADED: dict[str, Callable[[Callable[[float], None]], Any]] = {
    "aws": _aws,
    "gcp": _gcp,
    "azure": _azure,
    "kubernetes": _kubernetes,
}


def serve() -> None:
    """The process itself."""
    url = os.environ["ZYGOTE_URL"]
    clock = HttpClock(url)
    cloud = _LOADED[os.environ["ZYGOTE_CLOUD"]](clock.sleep)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _be(json.loads(line), url, clock, cloud)
                code = 0
            except BaseException as error:
                print(f"client: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _be(wish: dict[str, Any], url: str, clock: HttpClock, cloud: Any) -> None:
    home = Path(wish["home"])
    cloud = cloud(home) if isinstance(cloud, type) else cloud
    ledger = open_ledger(home)
    announce = urllib.request.Request(f"{url}/_victim?pid={os.getpid()}", method="POST")
    urllib.request.urlopen(announce, timeout=PATIENCE_S).close()
    if wish["do"] == "launch":
        folder = RunFolder.of(home, wish["run_id"])
        with folder.carried():
            Driver(ledger, lambda _: cloud, clock, folder, View(), {}).drive(wish["run_id"])
        return
    for _ in range(60):
        list(Reconciler(ledger, lambda _: cloud, clock, home)())
        if all(run.settled for run in ledger.runs()):
            return
        clock.sleep(600)
    raise AssertionError([(run.run_id, run.state) for run in ledger.runs() if not run.settled])
