"""`mlbroker doctor --prove` at the terminal, on each loopback cloud, in the cloud's own time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.support.loopback_guests import Script
from tests.support.small_book import small_book
from tests.support.strict import StrictCloud
from tests.support.vendors import VENDORS, Vendor, vendor_named
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.cli.ctrl_c import CtrlC, Pressed
from mlbroker.broker.errors import Interrupted, MlbrokerError, RefusedError
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.proof import CAME_UP, DID_WORK

Prove = Callable[..., Result]


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


@pytest.fixture(scope="module")
def world(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    region = vendor.runs.candidates[0].region
    with (
        small_book(tmp_path_factory.mktemp("book"), {region}),
        vendor.standing(tmp_path_factory.mktemp(vendor.name), frozen=True) as world,
    ):
        yield world


@pytest.fixture
def prove(
    vendor: Vendor, world: StrictCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Prove:
    """The command, in the loopback cloud's time, and in a folder whose policy allows one type."""
    world.calm()
    assert isinstance(world.guest, Script)
    world.guest.job_s, world.guest.log = None, f"{CAME_UP}\n{DID_WORK}\n".encode()
    monkeypatch.setattr(Clock, "now", lambda _: world.clock.now())
    for clock in (Clock, CtrlC):
        monkeypatch.setattr(clock, "sleep", lambda _, seconds: world.clock.advance(seconds))
    monkeypatch.setenv("MLBROKER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    sold = {"allow": {"instance_types": [vendor.runs.candidates[0].instance_type]}}
    (tmp_path / "mlbroker-policy.yaml").write_text(json.dumps(sold))

    def call(*options: str) -> Result:
        line = ["doctor", "--cloud", vendor.name, "--prove", *options]
        return CliRunner().invoke(build_app(line), line)

    return call


def refused(answer: Result, kind: type[MlbrokerError]) -> str:
    assert isinstance(answer.exception, kind), answer.output
    return str(answer.exception)


def test_a_proof_from_the_question_to_the_report(
    prove: Prove, world: StrictCloud, tmp_path: Path
) -> None:
    report = tmp_path / "report.md"
    answer = prove("--yes", "--report", str(report))
    assert answer.exit_code == 0, answer.output
    assert "the kill switch outside ends the machine" in answer.stdout
    assert "the machine is up" in answer.stderr, "a quarter of an hour is long without a word"
    assert "| the cap holds | ok |" in report.read_text()
    assert not any(vm.works for vm in world.vms())
    assert world.denied == []


def test_nothing_is_launched_without_a_yes_or_under_a_cap_too_small(
    prove: Prove, world: StrictCloud
) -> None:
    assert "Add --yes" in refused(prove(), MlbrokerError)
    said = refused(prove("--yes", "--budget", "0.01"), RefusedError)
    assert "needs a cap of" in said
    assert "Raise --budget" in said
    assert "--report" in refused(prove("--yes", "--report", "/nowhere/r.md"), MlbrokerError)
    assert not any(vm.works for vm in world.vms())
    assert open_ledger(Path("home")).runs() == []


def test_who_leaves_is_told_when_the_machine_ends_and_goes_on_with_the_same_command(
    prove: Prove, world: StrictCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(clock: Any, seconds: float) -> None:
        if any(vm.works for vm in world.vms()):
            raise Pressed
        world.clock.advance(seconds)

    with monkeypatch.context() as patch:
        patch.setattr(CtrlC, "sleep", pressed)
        said = refused(prove("--yes"), Interrupted)
    (run,) = open_ledger(Path("home")).runs()
    assert "left to its kill switch, which is due" in said
    assert f"mlbroker stop {run.run_id}" in said
    world.clock.advance(3600)
    answer = prove("--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["run_id"] == run.run_id
    assert "going on with it" in answer.stderr
