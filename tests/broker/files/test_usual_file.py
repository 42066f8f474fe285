"""Files that restrict: one that cannot be told from none is refused, and never counts as none."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.nodes import nodes_file
from mlbroker.broker.home import POLICY_NAME, policy_path, present, usual_file
from mlbroker.broker.judge import judge_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.prices.availability import load_availability

NEAR = [
    "mlbroker-policy.yml",
    ".mlbroker-policy.yaml",
    ".mlbroker-policy.yml",
    "Mlbroker-Policy.YAML",
    "mlbroker_policy.yaml",
    "mlbroker-policies.yaml",
    "mlbroker-policy.yaml.txt",
    "mlbroker-policy.json",
    "mlbroker-policy",
]
FAR = [
    "mlbroker-policy.yaml~",
    "mlbroker-policy.yaml.bak",
    ".mlbroker-policy.yaml.swp",
    "mlbroker-policy.yaml.example",
    "policy.yaml",
    "my-mlbroker-policy.yaml",
]


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere/central-policy.yaml")


def through_a_file(path: Path) -> None:
    (path.parent / "plain").touch()
    path.symlink_to("plain/below.yaml")


def folder(path: Path) -> None:
    path.mkdir()


BROKEN = [loop, dangling, through_a_file, folder]


@pytest.mark.parametrize("breaking", BROKEN)
@pytest.mark.parametrize("depth", [0, 1])
def test_a_policy_that_cannot_be_read_is_no_absent_one(
    tmp_path: Path, breaking: Callable[[Path], None], depth: int
) -> None:
    below = tmp_path / "project" / "jobs"
    below.mkdir(parents=True)
    breaking([below, *below.parents][depth] / POLICY_NAME)
    with pytest.raises(InputError, match=POLICY_NAME):
        judge_of(below / "job.yaml", None)


@pytest.mark.parametrize("name", NEAR)
def test_a_policy_with_nearly_the_right_name_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("max_spend_per_run: 1 USD")
    (tmp_path / "jobs").mkdir()
    with pytest.raises(InputError, match="would not be read") as caught:
        policy_path(tmp_path / "jobs" / "job.yaml")
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("name", FAR)
def test_what_an_editor_leaves_is_no_policy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("max_spend_per_run: 1 USD")
    (tmp_path / "mlbroker-policy").mkdir()  # a repository of policies, say
    assert usual_file(tmp_path / POLICY_NAME) is None
    (tmp_path / POLICY_NAME).touch()
    assert policy_path(tmp_path / "job.yaml") == tmp_path / POLICY_NAME


def test_a_link_that_leads_somewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "central.yaml").touch()
    (tmp_path / POLICY_NAME).symlink_to("central.yaml")
    assert policy_path(tmp_path / "job.yaml") == tmp_path / POLICY_NAME


@pytest.mark.skipif(os.geteuid() == 0, reason="as root may look up everything: run as another user")
def test_what_may_not_be_looked_up_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(InputError, match="cannot be looked up"):
            present(closed / POLICY_NAME)
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize("breaking", [loop, dangling])
def test_other_files_that_restrict_are_looked_for_alike(
    tmp_path: Path, breaking: Callable[[Path], None]
) -> None:
    for name in ("nodes.yaml", "quotas.json", "capacity.sqlite", "ledger.db"):
        breaking(tmp_path / name)
    with pytest.raises(InputError, match=r"nodes\.yaml"):
        nodes_file(tmp_path, environ={})
    now = datetime.now(UTC)
    with pytest.raises(InputError, match=r"quotas\.json"):
        load_availability(tmp_path, now)
    (tmp_path / "quotas.json").unlink()
    with pytest.raises(InputError, match=r"capacity\.sqlite"):
        load_availability(tmp_path, now)
    # An empty ledger in its place would have forgotten what the caps have paid for.
    with pytest.raises(InputError, match=r"ledger\.db"):
        open_ledger(tmp_path).runs()
    with pytest.raises(InputError, match=r"ledger\.db"):
        open_ledger(tmp_path).note(now, "approved", {"id": "1"})


def test_a_nodes_file_with_another_ending_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "nodes.yml").touch()
    with pytest.raises(InputError, match=r"has to be called nodes\.yaml"):
        nodes_file(tmp_path, environ={})


def test_quotas_that_cannot_be_read_are_not_none(tmp_path: Path) -> None:
    (tmp_path / "quotas.json").mkdir()
    with pytest.raises(InputError, match=r"quotas\.json: cannot be read"):
        load_availability(tmp_path, datetime.now(UTC))
