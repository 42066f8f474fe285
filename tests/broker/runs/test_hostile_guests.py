"""What a guest says or leaves ends no client, keeps no machine, and moves no money."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.mlbroker import Cli
from tests.support.sim_runs import SimRuns
from tests.support.simulator import SimCloud

from mlbroker.broker.clouds.guest_report import Report, box_of, report_of
from mlbroker.broker.clouds.interface import Denied, Intent, MachineState
from mlbroker.broker.clouds.on_prem import machine_of
from mlbroker.broker.ledger import Run, State, open_ledger
from mlbroker.broker.runs import ending, folder, watch
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.reconcile import Did
from mlbroker.broker.runs.view import View


class Hostile(SimCloud):
    """Says and serves what it is told to."""

    log: Callable[[int], bytes] = staticmethod(lambda offset: b"out\n"[offset:])
    log_bytes = 4
    fails: ClassVar[dict[str, Exception]] = {}
    says: Any = None

    def report(self, intent: Intent) -> Report:
        if f"report {intent.run_id}" in self.fails:
            raise self.fails[f"report {intent.run_id}"]
        found = super().report(intent)
        if self.says is not None:
            found = replace(found, status=report_of({"status": self.says}).status)
        return replace(found, log_bytes=self.log_bytes)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        return self.log(offset)

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        if name in self.fails:
            raise self.fails[name]
        return False

    def discard(self, intent: Intent) -> None:
        if "discard" in self.fails:
            raise self.fails["discard"]


class Heard(View):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def sim(tmp_path: Path) -> SimRuns:
    sim = SimRuns(tmp_path)
    sim.cloud = Hostile(sim.service)
    sim.cloud.fails = {}
    return sim


def driven(sim: SimRuns) -> tuple[Run, list[str]]:
    heard = Heard()
    sim.reserve()
    own = RunFolder.of(sim.home, "r1")
    run = Driver(sim.ledger, sim.opened, sim.service, own, heard, {}).drive("r1")
    sim.check()
    return run, heard.warnings


@pytest.mark.parametrize("part", [b"x", b"x" * 1000], ids=["crumbs", "parts"])
def test_a_log_without_end_fills_no_disk_and_holds_up_nothing(
    sim: SimRuns, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LOG_KEPT_BYTES", 1500)
    sim.cloud.log_bytes = 10**18
    sim.cloud.log = lambda offset: part
    run, warnings = driven(sim)
    assert run.outcome == "succeeded"
    assert RunFolder.of(sim.home, "r1").log.stat().st_size == 1500
    assert len([text for text in warnings if "no more of it is brought home" in text]) == 1


def test_no_look_takes_long_over_a_log(sim: SimRuns) -> None:
    asked: list[int] = []
    sim.cloud.log_bytes = 10**18
    sim.cloud.log = lambda offset: asked.append(offset) or b"x"
    with sim.service.world() as world:
        world.job_s = 1e6
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    assert len(asked) == watch.PARTS_A_LOOK


def test_a_log_claimed_and_not_there_is_waited_for_by_nobody(sim: SimRuns) -> None:
    sim.cloud.log_bytes = 10**18
    assert driven(sim)[0].outcome == "succeeded"
    assert RunFolder.of(sim.home, "r1").log.read_bytes() == b"out\n"


def test_the_log_goes_on_where_it_ended_whoever_died_writing(tmp_path: Path) -> None:
    own = RunFolder(tmp_path / "r")
    assert own.log_offset(1) == 0
    own.keep_log(1, b"one\n")
    assert own.log_offset(1) == 4
    # Half a part: its writer was killed, or the disk was full.
    with open(own.log, "ab") as log:
        log.write(b"tw")
    assert own.log_offset(1) == 6
    own.keep_log(1, b"o\n")
    assert own.log_offset(2) == 0
    own.keep_log(2, b"three\n")
    assert (own.log_offset(2), own.log.read_bytes()) == (6, b"one\ntwo\nthree\n")
    # What is torn is said again rather than lost.
    (own.path / "log.2.begin").write_text("")
    assert own.log_offset(2) == 0


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), OSError(28, "No space left on device"), Denied("no")]
)
def test_whatever_comes_of_collecting_the_machine_is_ended_and_the_run_settled(
    sim: SimRuns, error: Exception
) -> None:
    sim.cloud.fails = {"outputs.tar": error, "checkpoint.tar": error, "discard": error}
    if not isinstance(error, OSError | Denied):
        del sim.cloud.fails["discard"]
    run, warnings = driven(sim)
    assert (run.outcome, run.attempt.exit_code) == ("succeeded", 0)
    assert any("collect" in text for text in warnings)


def test_a_checkpoint_that_cannot_be_had_ends_no_client(sim: SimRuns) -> None:
    sim.cloud.says = {"phase": "running", "checkpoint_at": 5}
    sim.cloud.fails = {"checkpoint.tar": OSError(28, "No space left on device")}
    run, warnings = driven(sim)
    assert run.outcome == "succeeded"
    assert len([text for text in warnings if "checkpoint is not brought home" in text]) == 1


@pytest.mark.parametrize("error", [KeyError("x"), Denied("no")])
def test_one_runs_failure_keeps_no_other_from_being_settled(
    sim: SimRuns, error: Exception, tmp_path: Path
) -> None:
    for run_id in ("r1", "r2", "r3"):
        sim.reserve(run_id)
        while sim.driver(run_id, {}).advance(run_id).state is not State.RUNNING:
            pass
    sim.service.sleep(1e6)
    sim.cloud.fails = {"report r2": error}
    found = {finding.what: finding.did for finding in sim.reconcile()}
    failed = Did.UNREACHABLE if isinstance(error, Denied) else Did.FAILED
    assert found == {"r1": Did.SETTLED, "r2": failed, "r3": Did.SETTLED}
    sim.cloud.fails = {}
    sim.wind_up()
    sim.check()


def test_a_machine_that_does_not_end_keeps_nobody_from_the_next_run(
    sim: SimRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sim.service.world() as world:
        world.failing_deletes, world.broken_kill = 10**9, True
    for run_id in ("r1", "r2"):
        sim.reserve(run_id)
        while sim.driver(run_id, {}).advance(run_id).state is not State.RUNNING:
            pass
    sim.service.sleep(1e6)
    found = [(finding.what, finding.did) for finding in sim.reconcile()]
    assert found == [("r1", Did.UNREACHABLE), ("r2", Did.UNREACHABLE)]


def test_reconcile_says_what_failed_and_ends_with_one(tmp_path: Path) -> None:
    cli, at, text = Cli(tmp_path), datetime.now(UTC), "[]"
    for run_id in ("r0", "r1"):
        # As no version writes it: that this one fails over it is a bug, and no other run's affair.
        (cli.home / "runs" / run_id).mkdir(parents=True)
        (cli.home / "runs" / run_id / "order.json").write_text(text)
        told = {"job": "j", "user": "u", "cap_usd": "1", "reserved_usd": "1"}
        digest = hashlib.sha256(text.encode()).hexdigest()
        open_ledger(cli.home).reserve(at, run_id, told | {"order_sha256": digest})
        open_ledger(cli.home).append(at, run_id, "intended", _intended(at))
    answer = cli("reconcile")
    assert answer.returncode == 1
    assert [f"could not deal with {run_id}: " in answer.stderr for run_id in ("r0", "r1")] == [
        True,
        True,
    ]
    found = json.loads(cli("reconcile", "--json").stdout)["findings"]
    assert [finding["did"] for finding in found] == ["failed", "failed"]


def _intended(at: datetime) -> dict[str, Any]:
    return {
        "attempt": 1, "token": "mlb-r0-1", "cloud": "local", "region": "on-prem",
        "instance_type": "local", "market": "on_demand", "nodes": 1, "price_per_hour_usd": "1",
        "kill_at": (at + timedelta(hours=1)).isoformat(), "worst_usd": "0.1",
    }  # fmt: skip


def test_a_box_tells_no_time_of_the_future_and_no_end_before_its_start() -> None:
    now = datetime.now(UTC)
    told: dict[str, Any] = {"state": "over", "started_at": "2100-01-01T00:00:00+00:00"}
    for elapsed in (0, 1e9, float("nan"), -5, "x", 10**400):
        seen = box_of(told | {"end": {"why": "finished", "elapsed_s": elapsed}})
        assert seen is not None
        machine = machine_of("box/t", seen)
        assert machine is not None
        assert machine.state is MachineState.TERMINATED
        assert machine.started_at is not None
        assert machine.started_at <= datetime.now(UTC)
        assert machine.ended_at is None or now <= machine.ended_at <= datetime.now(UTC)


def test_a_box_without_its_order_is_alive_all_the_same() -> None:
    seen = box_of({"state": "alive", "tags": {}, "started_at": None})
    assert seen is not None
    machine = machine_of("box/t", seen)
    assert machine is not None
    assert machine.state is MachineState.RUNNING


@pytest.mark.parametrize(("cloud", "bound"), [("ssh", 90), ("local", 90), ("gcp", 1)])
def test_on_own_machines_no_run_ends_before_it_was_seen_alive(
    tmp_path: Path, cloud: str, bound: int
) -> None:
    ledger, t0 = open_ledger(tmp_path), datetime(2026, 11, 24, 12, tzinfo=UTC)

    def after(seconds: float) -> datetime:
        return t0 + timedelta(seconds=seconds)

    def gone(seconds: float) -> ending.Gone:
        return ending.Gone(after(seconds), at_most=False)

    ledger.reserve(t0, "r0", {"job": "j", "user": "u", "cap_usd": "1", "reserved_usd": "1"})
    ledger.append(after(1), "r0", "intended", _intended(t0) | {"cloud": cloud})
    ledger.append(after(1), "r0", "armed", {})
    told = {"machine_id": "box/t", "started_at": after(1).isoformat()}
    ledger.append(after(1), "r0", "created", told)
    ledger.append(after(60), "r0", "confirmed", {})
    run = ledger.append(after(90), "r0", "running", {})
    assert ending.LastAlive(ledger).bound(run, gone(1)) == gone(bound)
    assert ending.LastAlive(ledger).bound(run, gone(200)) == gone(200)
    here = ending.LastAlive(ledger)
    here.saw(run, after(150))
    assert here.bound(run, gone(1)) == gone(150 if cloud != "gcp" else bound)
