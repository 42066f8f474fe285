"""Where a run goes when the plan's choice lies where mlbroker is not set up."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.aws.server import NOBODY, StrictAws, environment, serving
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli

TABLE = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
job,m5.large,aws,m5.large,0.5,1,0.096
job,m5.4xlarge,aws,m5.4xlarge,0.05,1,0.768
"""


@pytest.fixture(scope="module")
def world() -> Iterator[StrictAws]:
    with serving() as served:
        served.renew(("eu-west-1",))  # which is not the cheapest region
        yield served


def dry_run(tmp_path: Path, *options: str, **extra: str) -> tuple[int, str, str]:
    cli = Cli(tmp_path)
    indexed(cli.home)
    (tmp_path / "measured.csv").write_text(TABLE)
    job = cli.job("true", resources={"cpus": "2+"}, broker={"work": {"steps": 2000}})
    answer = cli(
        "run", job, "--measure", "measured.csv", "--market", "on_demand", "--budget", "5",
        "--dry-run", "--json", *options, **extra,
    )  # fmt: skip
    assert cli.ledger() == []
    return answer.returncode, answer.stdout, answer.stderr


def test_it_is_planned_again_for_the_regions_that_are_set_up(
    world: StrictAws, tmp_path: Path
) -> None:
    options = ("--cloud", "aws", "--instance-type", "m5.large")
    code, out, said = dry_run(tmp_path, *options, **environment(world.url))
    assert code == 0, said
    assert "the plan's choice, m5.large in us-" in said
    assert "mlbroker init --cloud aws --region us-" in said
    assert "Planned again for where it can be: eu-west-1." in said
    assert json.loads(out)["region"] == "eu-west-1"


def test_a_region_that_was_asked_for_is_not_left(world: StrictAws, tmp_path: Path) -> None:
    options = ("--cloud", "aws", "--region", "us-east-1")
    code, _, said = dry_run(tmp_path, *options, **environment(world.url))
    assert code == 2
    assert "mlbroker is set up in eu-west-1, not there" in said
    assert "mlbroker init" in said


def test_a_dry_run_without_an_account_shows_the_plan(tmp_path: Path) -> None:
    code, out, said = dry_run(tmp_path, "--cloud", "aws", **NOBODY)
    assert code == 0, said
    assert "no credentials found" in said
    assert json.loads(out)["cloud"] == "aws"


def test_a_cap_that_ends_runs_of_the_plan_is_said_with_what_is_enough(tmp_path: Path) -> None:
    options = ("--cloud", "aws", "--instance-type", "m5.large")
    # 1,000 s cost 0.027 USD; a machine may bill for minutes after its kill time.
    code, _, said = dry_run(tmp_path, *options, "--budget", "0.04", **NOBODY)
    assert code == 0, said
    enough = re.search(r"--budget (\d\.\d\d) is enough for nine", said)
    assert enough is not None, said
    code, _, said = dry_run(tmp_path, *options, "--budget", enough[1], **NOBODY)
    assert code == 0, said
    assert "is enough for nine" not in said
    # A plan says so first, and has the figure.
    cli = Cli(tmp_path)
    wanted = ("--measure", "measured.csv", "--market", "on_demand", *options)
    for budget, says in (("0.04", enough[0]), (enough[1], None)):
        told = cli("plan", "job.yaml", *wanted, "--budget", budget)
        assert told.returncode == 0, told.stderr
        assert ("is enough for nine" in told.stderr) == (says is not None)
        assert says is None or says in told.stderr
