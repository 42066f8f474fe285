"""One rule, asked by every command that judges a run; and none of it for those without a policy."""

import json
from pathlib import Path

import pytest
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli

RESOURCES = {"cpus": "2", "infra": "aws/us-east-1", "use_spot": False}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    indexed(cli.home)
    return cli


def test_eight_nodes_are_refused_by_plan_run_check_and_policy_test(cli: Cli) -> None:
    job = cli.job(
        "true", num_nodes=8, resources=RESOURCES, broker={"work": {"steps": 10}, "budget": "9 USD"}
    )
    (cli.folder / "mlbroker-policy.yaml").write_text("max_nodes: 1\n")
    told = "max_nodes: 8 nodes are more than 1"

    plan = cli("plan", job)
    assert plan.returncode == 4, plan.stderr
    assert "the policy forbids" in plan.stderr
    assert told in plan.stderr

    run = cli("run", job, "--yes")
    assert run.returncode == 4, run.stderr
    assert told in run.stderr
    assert cli.ledger() == []

    check = cli("check", job.name)
    assert check.returncode == 5, check.stderr
    assert told in check.stderr

    test = cli("policy", "test", job, "--json")
    assert test.returncode == 3, test.stderr
    document = json.loads(test.stdout)
    assert document["allowed"] == []
    assert {row["rule"] for row in document["forbidden"]} == {"max_nodes"}

    (cli.folder / "mlbroker-policy.yaml").write_text("max_nodes: 8\n")
    assert cli("plan", job).returncode == 0
    assert cli("check", job.name).returncode == 0
    assert cli("policy", "test", job).returncode == 0


@pytest.mark.parametrize("command", [("plan",), ("check",), ("run", "--dry-run", "--cloud", "aws")])
def test_without_a_policy_file_no_rule_is_imported(cli: Cli, command: tuple[str, ...]) -> None:
    job = cli.job("true", resources=RESOURCES, broker={"work": {"steps": 10}, "budget": "9 USD"})
    done = cli(command[0], job.name, *command[1:], PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "mlbroker.policies.planner.planner" in imported
    assert not [name for name in imported if name.startswith("mlbroker.policies.guardrails")]
