"""The check-up and the set-up writer at the terminal."""

import json
from pathlib import Path

from tests.support.cli import mlbroker


def test_this_machine_is_well(tmp_path: Path) -> None:
    answer = mlbroker("doctor", "--json", home=tmp_path)
    assert answer.returncode == 0, answer.stderr
    found = {check["check"]: check["ok"] for check in json.loads(answer.stdout)["checks"]}
    assert found == {"state folder": True, "ledger": True}


def test_a_damaged_ledger_is_found(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    answer = mlbroker("doctor", home=tmp_path)
    assert answer.returncode == 1
    assert "backup" in answer.stderr


def test_an_unknown_cloud_names_the_known(tmp_path: Path) -> None:
    answer = mlbroker("doctor", "--cloud", "mars", home=tmp_path)
    assert answer.returncode == 2
    assert "aws" in answer.stderr


def test_policies_are_printed_without_an_account(tmp_path: Path) -> None:
    answer = mlbroker(
        "doctor", "--cloud", "aws", "--region", "eu-west-1", "--policies", home=tmp_path
    )
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)) == 3
    assert "eu-west-1" in answer.stdout


def test_the_set_up_is_written_and_never_over_another(tmp_path: Path) -> None:
    first = mlbroker("init", "--cloud", "aws", "--region", "eu-west-1", home=tmp_path, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "aws cloudformation deploy --region eu-west-1" in first.stderr
    template = json.loads((tmp_path / "mlbroker-aws-eu-west-1.json").read_text())
    assert "KillRole" in template["Resources"]
    again = mlbroker("init", "--cloud", "aws", "--region", "eu-west-1", home=tmp_path, cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_a_region_that_is_no_name_is_refused(tmp_path: Path) -> None:
    answer = mlbroker("init", "--cloud", "aws", "--region", "../x", home=tmp_path, cwd=tmp_path)
    assert answer.returncode == 2
    assert "--region" in answer.stderr
    assert list(tmp_path.glob("*.json")) == []
