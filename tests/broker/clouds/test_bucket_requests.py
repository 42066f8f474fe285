"""A run's requests to its bucket, by the vendor's meter, against what the bill reckons for them."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.aws.guests import AwsSandboxes
from tests.support.azure.guests import AzureSandboxes
from tests.support.cloud_runs import CloudRuns, WorldClock
from tests.support.gcp.guests import GcpSandboxes
from tests.support.strict import StrictCloud
from tests.support.vendors import Vendor

from mlbroker.broker.guest import courier
from mlbroker.broker.guest.vendor import opened
from mlbroker.broker.runs.attempt import intent_of
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.region import Region

HOUR_S = 3600
SANDBOXES = {"aws": AwsSandboxes, "gcp": GcpSandboxes, "azure": AzureSandboxes}
_TOLD = re.compile(r"boot\.pyz ([-0-9a-z]+) ([-0-9a-z]+) (\S+) (runs/\S+) [0-9a-f]{64}")


@dataclass
class Talker:
    """The machine: a real courier, and in its box a job that says something new each second."""

    box: Path
    world: StrictCloud
    environment: Any
    vms: list[Any] = field(default_factory=list)
    over: bool = False
    _carrier: courier.Courier | None = None
    _step: int = 0

    def start(self, vm: Any) -> None:
        self.vms.append(vm)

    def end(self, vm: Any) -> None:
        self.vms.remove(vm)

    def console(self, id_: str) -> str:
        return ""

    def beat(self) -> None:
        for vm in list(self.vms):
            if self._carrier is None:
                self._carrier = self._booted(vm)
            self._step += 1
            self._write("status.json", {"phase": "running", "step": self._step})
            with open(self.box / "log", "a", encoding="utf-8") as log:
                log.write(f"step {self._step}\n")
            if self.over:
                self._write("end.json", {"why": "finished", "exit_code": 0})
            self._carrier._look()
            if self.over:
                self._carrier._leave()
                self.world.delete_itself(vm)

    def _booted(self, vm: Any) -> courier.Courier:
        told = _TOLD.search(vm.user_data)
        assert told is not None
        name, region, bucket, folder = told.groups()
        with pytest.MonkeyPatch.context() as patch:
            machine = f"{self.world.url}/_machine/{vm.id}"
            for variable, value in self.environment(vm, machine).items():
                patch.setenv(variable, value)
            vendor = opened(name, region, bucket)
        assert vendor.get_file(f"{folder}/guest.pyz", str(self.box / "guest.pyz"))
        carrier = courier.Courier("program", str(self.box), vendor, folder, 0)
        carrier._fetched()
        return carrier

    def _write(self, name: str, document: Any) -> None:
        (self.box / name).write_text(json.dumps(document))


@dataclass
class Beating(WorldClock):
    """While the client waits, the machine lives on, a second at a time."""

    talker: Talker

    def sleep(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds))):
            self.world.clock.advance(1)
            self.talker.beat()

    def beat_after(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        self.talker.beat()


@pytest.fixture
def talker(
    world: StrictCloud, vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Talker]:
    sandboxes = SANDBOXES[vendor.name](lambda: world.url)
    box = tmp_path / "box"
    box.mkdir()
    found = Talker(box, world, sandboxes.environment)
    world.guest = found
    now = world.clock.now
    time = SimpleNamespace(
        monotonic=lambda: now().timestamp(), time=lambda: now().timestamp(), sleep=None
    )
    monkeypatch.setattr(courier, "time", time)
    yield found
    sandboxes.close()


def test_an_hour_of_machine_and_client_costs_no_more_than_the_bill_reckons(
    runs: CloudRuns, vendor: Vendor, talker: Talker, run_id: str
) -> None:
    """On the way in, while it works and on the way out; with prices of the vendor's own list."""
    world = runs.world
    clock = runs.clock = Beating(world, talker)
    before = Counter(world.paid)
    runs.reserve(run_id, "20", runs.candidates[-1:])
    driver = runs.driver(run_id, {})
    run = driver.advance(run_id)
    while run.state != "running":
        run = driver.advance(run_id)
    # For an hour its client does nothing but look: whether the machine is there costs nothing.
    intent = intent_of(run, run.attempt, driver.order)
    until = clock.now() + timedelta(seconds=HOUR_S)
    while clock.now() < until:
        driver._watch(run).look(runs.cloud, intent, run)
        young = (clock.now() - run.attempt.began_at).total_seconds() < 300
        clock.beat_after(1 if young else 5)
    talker.over = True
    run = driver.drive(run_id)
    assert run.outcome == "succeeded"
    paid = world.paid - before
    attempt = run.attempts[0]
    assert attempt.ended_at is not None
    up_h = Decimal(str((attempt.ended_at - attempt.began_at).total_seconds())) / 3600
    assert up_h > 1
    bill = Bill.of(Region(vendor.name, "r"), Decimal(1), 1, 0)
    reckoned = bill.requests_usd_per_hour * up_h + bill.requests_once_usd
    billed = sum((number * vendor.request_usd[kind] for kind, number in paid.items()), Decimal(0))
    assert 0 < billed <= reckoned
    assert paid["write"] < 240
    assert paid["read"] < 800
