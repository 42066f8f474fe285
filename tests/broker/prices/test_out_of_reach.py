"""What an account cannot have is rejected as such by a plan, and a launch in vain is remembered."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import PATIENCE_S, Cli
from tests.support.sim_runs import SimRuns

from mlbroker.broker.prices import quotas, shortages
from mlbroker.broker.prices.quotas import Quota
from mlbroker.broker.prices.shortages import Shortage

PRICES = """cloud,region,instance_type,market,price_per_hour_usd,as_of,source
aws,us-east-1,g5.xlarge,on_demand,1.0,2026-11-01,test
aws,eu-west-1,g5.xlarge,on_demand,1.1,2026-11-01,test
aws,us-east-1,g5.xlarge,spot,0.4,2026-11-01,test
aws,us-east-1,m5.large,on_demand,0.1,2026-11-01,test
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "prices.csv").write_text(PRICES)
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: j\nrun: python train.py\nbroker: {deadline: 8h, work: {steps: 1000}}\n"
        "resources: {accelerators: A10G:1}\n"
    )
    (tmp_path / "measured.csv").write_text(
        "job,config,instance_type,cloud,time_s,steps,price_per_hour_usd\n"
        "j,g5.xlarge,g5.xlarge,aws,3.6,1000,1.0\n"
    )
    return path


def plan(job: Path, code: int = 0) -> dict[str, Any]:
    here = job.parent
    done = subprocess.run(
        [sys.executable, "-c", "from mlbroker.broker.cli import main; main()", "plan", str(job),
         "--prices", str(here / "prices.csv"), "--measure", str(here / "measured.csv"),
         "--json", "--explain"],
        capture_output=True, text=True, timeout=PATIENCE_S,
        env={**os.environ, "MLBROKER_HOME": str(here / "home")},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_shortage_and_a_quota_turn_the_plan_elsewhere(job: Path) -> None:
    home = job.parent / "home"
    now = datetime.now(UTC)
    assert plan(job)["choice"]["market"] == "spot"
    shortages.remember(
        home, Shortage("aws", "us-east-1", None, "g5.xlarge", True, now, "none left")
    )
    document = plan(job)
    choice = document["choice"]
    assert (choice["market"], choice["region"]) == ("on_demand", "us-east-1")
    assert document["rejections"]["no_capacity"] == 1
    none = Quota("aws", "us-east-1", False, "Running On-Demand G", "vcpu", 3, 0, ("g",))
    quotas.save(home, "aws", [none], now)
    assert plan(job)["choice"]["region"] == "eu-west-1"
    quotas.save(home, "aws", [none, none._replace(region="eu-west-1")], now)
    document = plan(job, code=4)
    assert document["choice"] is None
    reasons = {r["market"]: r for r in document["rejected"] if r["instance_type"] == "g5.xlarge"}
    assert reasons["spot"]["reason"] == "no_capacity"
    assert reasons["on_demand"]["reason"] == "no_quota"
    assert "4 vCPUs needed, 3 allowed" in reasons["on_demand"]["detail"]


def test_a_short_zone_is_named_and_a_job_that_wants_it_goes_elsewhere(job: Path) -> None:
    home, here = job.parent / "home", job.parent
    now = datetime.now(UTC)
    short = Shortage("aws", "us-east-1", "us-east-1b", "g5.xlarge", True, now, "none left")
    shortages.remember(home, short)
    assert plan(job)["choice"]["market"] == "spot"
    tables = ("--prices", here / "prices.csv", "--measure", here / "measured.csv")
    done = Cli(here)("plan", job, *tables)
    assert f"us-east-1b had no g5.xlarge at {now:%H:%M} UTC: a run asks there last." in done.stdout
    job.write_text(job.read_text().replace("A10G:1", "A10G:1, infra: aws/us-east-1/us-east-1b"))
    document = plan(job)
    assert document["choice"]["market"] == "on_demand"
    (out,) = [r for r in document["rejected"] if r["reason"] == "no_capacity"]
    assert out["detail"].startswith("us-east-1b had none")


def test_a_launch_in_vain_is_remembered(tmp_path: Path) -> None:
    sim = SimRuns(tmp_path)
    with sim.service.world() as world:
        world.no_capacity = {"small"}
    run = sim.launch()
    assert run.outcome == "succeeded"
    (shortage,) = shortages.lately(tmp_path, sim.service.now())
    assert shortage.instance_type == "small"
    assert "small" in shortage.detail
