"""A run in real time, in front of a loopback cloud whose machines really execute."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.mlbroker import wait_for

from mlbroker.broker.ledger import Ledger, Run, open_ledger
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import reserve, worst_case
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.view import View

SECRET = "geheim-4711-geheim"
WORK = """
set -e
test "$HF_TOKEN" = geheim-4711-geheim
echo "token is $HF_TOKEN"
cat data.txt
mkdir -p "$MLBROKER_OUTPUT_DIR"
echo model > "$MLBROKER_OUTPUT_DIR/model"
"""
RESUMES = """
set -e
if [ -e ckpt/step ]; then echo "resumed at $(cat ckpt/step)"; exit 0; fi
mkdir -p ckpt; echo 41 > ckpt/step; echo "first part"; sleep 1000
"""


@dataclass
class LiveClock:
    """The cloud's own time, which a test may have moved ahead; waiting is real."""

    world: Any

    def now(self) -> datetime:
        moment: datetime = self.world.clock.now()
        return moment

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Live:
    """One run, whose `candidates` are in the order of preference."""

    home: Path
    world: Any
    cloud: Any
    run_id: str
    candidates: tuple[LaunchOption, ...]

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.home)

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(self.home, self.run_id)

    def reserve(self, command: str, places: int = 1, nodes: int = 1, **more: object) -> None:
        """A run of this command in so many places, one after the other."""
        spec = {"command": command, "secret_names": [], **more}
        candidates = tuple(
            replace(place, bill=replace(place.bill, nodes=nodes), disk_gb=50)
            for place in self.candidates[:places]
        )
        order = Order(self.run_id, "job", candidates, spec, secrets=("HF_TOKEN",))
        cap = Decimal(5)
        worst = worst_case(candidates[0], cap, self.cloud.traits)
        reserve(
            self.ledger, self.folder, order, self.world.clock.now(), cap_usd=cap,
            worst_usd=worst.usd, user="u", project=None, facts={},
        )  # fmt: skip

    def driver(self, *, later: bool = False) -> Driver:
        """Of the process that launched, or of a `later` one."""
        secrets = None if later else {"HF_TOKEN": SECRET}
        clock, view = LiveClock(self.world), View()
        return Driver(self.ledger, lambda _: self.cloud, clock, self.folder, view, secrets)

    def carry_until(self, what: Callable[[Run], bool]) -> Driver:
        driver = self.driver()
        self.wait(lambda: what(driver.advance(self.run_id)))
        return driver

    def wait(self, what: Callable[[], bool]) -> None:
        consoles = self.world.guest.console
        wait_for(what, tell=lambda: [consoles(vm.id) for vm in self.world.vms()])

    def log(self) -> str:
        return self.folder.log.read_text()
