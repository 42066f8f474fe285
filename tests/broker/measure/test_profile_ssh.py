"""`mlbroker profile --on NODE` over a real sshd on loopback."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.broker.measure.test_capacity import answers, free_port, service_file
from tests.support import known_servers
from tests.support.mlbroker import Cli
from tests.support.sshd import Sshd, needs_openssh, running_sshd

pytestmark = needs_openssh

TRAIN = """
import time
from mlbroker_probe import steps
for i in steps(range(2000), total=2000):
    time.sleep(0.004)
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


def test_the_job_travels_is_measured_there_and_paid_for(tmp_path: Path, node: Sshd) -> None:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml())
    work = cli.folder / "project"
    work.mkdir()
    (work / "train.py").write_text(TRAIN)
    job = cli.job("python3 train.py", workdir=str(work))
    done = cli("profile", job, "--on", "box", "--yes", "--json", "--max-cost", "0.05")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["measurements"]
    assert (row["cloud"], row["instance_type"], row["steps"]) == ("ssh", "box", 2000)
    assert row["extra"]["source"] == "steps"
    assert row["step_time_s"]["p90"] >= 0.004
    assert row["step_time_s"]["p50"] < 0.2
    assert row["price_per_hour_usd"] == "1"
    [run] = json.loads(cli("ledger", "--json").stdout)["runs"]
    assert (run["state"], run["cloud"]) == ("settled", "ssh")
    assert 0 < float(run["spent_usd"]) <= 0.05


def test_a_service_is_loaded_beside_itself_on_the_node(tmp_path: Path, node: Sshd) -> None:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml())
    work = cli.folder / "project"
    work.mkdir()
    shutil.copy(known_servers.__file__, work / "server.py")
    port = free_port()
    path = service_file(work, "server.py fixed", port, max_time="12s")

    done = cli("profile", path, "--on", "box", "--yes", "--json", "--max-cost", "0.05")

    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["measurements"]
    assert (row["cloud"], row["config"], row["price_per_hour_usd"]) == ("ssh", "box", "1")
    # Wide: the machine of the tests is busy, and 12 s are few.
    assert 0 < float(row["extra"]["capacity_rps"]) < 60
    assert float(row["extra"]["capacity_low_rps"]) <= float(row["extra"]["capacity_rps"])
    assert 0 < float(row["extra"]["load_cores"]) < 1
    [run] = json.loads(cli("ledger", "--json").stdout)["runs"]
    assert (run["state"], run["cloud"]) == ("settled", "ssh")
    assert 0 < float(run["spent_usd"]) <= 0.05
    assert not answers(port)


def test_a_policy_holds_for_measurements_too(tmp_path: Path, node: Sshd) -> None:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    (cli.home / "nodes.yaml").write_text(node.nodes_yaml())
    (cli.folder / "mlbroker-policy.yaml").write_text("max_price_per_hour: 0.5 USD\n")
    done = cli("profile", cli.job("true"), "--on", "box", "--yes")
    assert done.returncode == 3
    assert "max_price_per_hour" in done.stderr
