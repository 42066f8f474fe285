"""What a machine said of itself: kept where it explains an end, secrets masked, and shown."""

from pathlib import Path

import pytest
from tests.support.mlbroker import Cli
from tests.support.sim_runs import SimRuns
from tests.support.simulator import SimCloud

from mlbroker.broker.cli.run_carry import report
from mlbroker.broker.clouds.interface import Unclear
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Run, State
from mlbroker.broker.runs.folder import RunFolder

SAID = "booting\nno disk for hunter2-hunter2\n\x1b[31mgiving up\n"


class Talking(SimCloud):
    """Its machines never get as far as the job, and say why."""

    silent = False

    def console_log(self, machine_id: str) -> str:
        if self.silent:
            raise Unclear("no answer")
        return SAID


@pytest.fixture
def sim(tmp_path: Path) -> SimRuns:
    sim = SimRuns(Cli(tmp_path).home)
    sim.cloud = Talking(sim.service)
    return sim


def lost(sim: SimRuns) -> Run:
    with sim.service.world() as world:
        world.job_s = 600.0
    sim.reserve()
    driver = sim.driver(secrets={"PASSWORD": "hunter2-hunter2"})
    while driver.advance("r1").state is not State.CONFIRMED:
        pass
    assert sim.service.console_delete()
    return driver.drive("r1")


def test_the_console_of_a_lost_machine_is_kept_shown_and_masked(
    sim: SimRuns, tmp_path: Path
) -> None:
    run = lost(sim)
    assert run.outcome == "lost"
    with pytest.raises(CloudError) as error:
        report(run, RunFolder.of(sim.home, "r1"), json=False)
    said = str(error.value)
    assert "its console ends with\n  | booting\n  | no disk for ***\n" in said
    assert "mlbroker logs r1 --console" in said
    answer = Cli(tmp_path)("logs", "r1", "--console")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("attempt 1:\nbooting\nno disk for ***\n")
    assert "\x1b" not in answer.stdout


def test_a_console_that_cannot_be_had_changes_nothing(sim: SimRuns, tmp_path: Path) -> None:
    Talking.silent = True
    try:
        run = lost(sim)
    finally:
        Talking.silent = False
    assert run.outcome == "lost"
    answer = Cli(tmp_path)("logs", "r1", "--console")
    assert (answer.returncode, "no console is kept" in answer.stderr) == (2, True)


def test_of_a_machine_that_did_its_job_no_console_is_kept(sim: SimRuns) -> None:
    assert sim.launch().outcome == "succeeded"
    assert not RunFolder.of(sim.home, "r1").console(1).exists()
