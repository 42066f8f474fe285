"""This machine under the conformance suite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.boxes import BoxHarness

from mlbroker.broker.clouds.interface import Cloud, Payload
from mlbroker.broker.clouds.local import LocalCloud


class LocalHarness(BoxHarness):
    name = "local"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cloud: Cloud = LocalCloud(folder / "home")
        self.spared = {
            "lost": "a function call on the same machine has no network to lose anything",
            "hidden": "what exists is seen at once",
            "late deletes": "a kill is no request",
            "quota": "one's own machine has none",
            "capacity": "without a node of the nodes file, nothing counts places",
        }

    def reopened(self) -> Cloud:
        return LocalCloud(self._folder / "home")

    def payload(self, seconds: float, code: int = 0) -> Payload:
        (self._folder / "work").mkdir(exist_ok=True)
        spec = {"command": f"sleep {seconds}; exit {code}", "workdir": str(self._folder / "work")}
        return Payload(spec)


@contextmanager
def open_harness(folder: Path) -> Iterator[LocalHarness]:
    harness = LocalHarness(folder)
    yield harness
    harness.clean_up()
