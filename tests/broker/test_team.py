"""Which ledger counts: the environment's, else the nearest policy file's, else a file."""

import json
from pathlib import Path

import pytest
from tests.support.mlbroker import Cli, wait_for
from tests.support.postgres import Postgres, needs_postgres

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.policy_file import parse_policy
from mlbroker.broker.team import Address, pinned, refuse_other_ledger, team_ledger

URL = "postgresql://db.example.com/books"


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    return tmp_path / "mlbroker-policy.yaml"


def test_without_a_word_of_it_there_is_none_also_where_a_rule_is_damaged(policy: Path) -> None:
    assert (team_ledger(), pinned()) == (None, {"MLBROKER_LEDGER": ""})
    policy.write_text("max_spend_per_month: [")
    assert team_ledger() is None


def test_the_environment_comes_before_the_file(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.write_text(f"ledger: {URL}")
    assert team_ledger() == Address(URL, str(policy))
    assert pinned() == {"MLBROKER_LEDGER": URL}
    monkeypatch.setenv("MLBROKER_LEDGER", "postgresql://other/books")
    assert team_ledger() == Address("postgresql://other/books", "MLBROKER_LEDGER")
    monkeypatch.setenv("MLBROKER_LEDGER", "")
    assert (team_ledger(), pinned()) == (None, {})


def test_nobody_looks_into_the_wrong_books(policy: Path) -> None:
    policy.write_text(f"ledger: {URL}\nmax_spend_per_month: [")
    with pytest.raises(InputError) as caught:
        team_ledger()
    assert "mlbroker-policy.yaml" in str(caught.value.where)
    policy.write_text(f"ledger: {URL}")
    refuse_other_ledger(parse_policy(f"ledger: {URL}", "job's"))
    refuse_other_ledger(parse_policy("max_nodes: 3", "job's"))
    with pytest.raises(InputError, match="names another ledger than counts"):
        refuse_other_ledger(parse_policy(f"ledger: {URL}2", "job's"))


@needs_postgres
def test_a_policy_file_is_all_that_a_team_needs(tmp_path: Path, postgres: Postgres) -> None:
    cli = Cli(tmp_path)
    url = postgres.database()
    policy = tmp_path / "mlbroker-policy.yaml"
    policy.write_text(f"ledger: {url}\n")
    assert cli("ledger", "migrate").returncode == 0
    job = cli.job("while [ ! -e gate ]; do sleep 0.1; done", workdir=str(tmp_path))
    assert cli.run_local(job, "--detach").returncode == 0
    assert not (cli.home / "ledger.db").exists()
    (row,) = cli.ledger()
    # Who carries it stays in its books, whatever becomes of the file.
    policy.write_text("max_nodes: 1\n")
    assert cli.ledger() == []
    (tmp_path / "gate").touch()
    team = {"MLBROKER_LEDGER": url}
    wait_for(lambda: "succeeded" in cli("ps", "--all", **team).stdout)
    (done,) = json.loads(cli("ledger", "--json", **team).stdout)["runs"]
    assert done["run_id"] == row["run_id"]
    far = tmp_path / "elsewhere" / "job.yaml"
    far.parent.mkdir()
    far.write_text(job.read_text())
    (far.parent / policy.name).write_text(f"ledger: {url}\n")
    refused = cli.run_local(far)
    assert (refused.returncode, "another ledger" in refused.stderr) == (2, True)
