"""The set-up that `init` writes suffices, and grants nothing that is not used.

Every other test here runs in an account that was set up with this very template.
"""

import json
import subprocess
import sys
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.aws.account import ACCOUNT
from tests.support.aws.runs import AwsRuns, intent
from tests.support.aws.server import StrictAws
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.app.account import setup_of
from mlbroker.broker.clouds.aws.bill import billed
from mlbroker.broker.clouds.aws.doctor import checks
from mlbroker.broker.clouds.aws.names import Names
from mlbroker.broker.clouds.aws.proof import remains
from mlbroker.broker.clouds.aws.roles import guest_policy, kill_policy, launcher_policy
from mlbroker.broker.clouds.aws.setup import cloudformation, terraform
from mlbroker.broker.clouds.interface import Payload
from mlbroker.broker.errors import InputError
from mlbroker.broker.prices.feeds.aws.clients import Clients
from mlbroker.broker.prices.feeds.interface import FeedError, Known, Scope

NAMES = Names(ACCOUNT, "us-east-1")
# Rights that are used along with a call, not called themselves.
_IMPLIED = {"ec2:CreateTags", "iam:PassRole"}


def actions(policy: dict[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def test_the_launcher_calls_what_its_policy_allows_and_nothing_else(
    runs: AwsRuns, run_id: str
) -> None:
    world = runs.world
    runs.launch(run_id)
    runs.reconcile()
    wanted = intent(world, f"{run_id}x")
    cloud = runs.cloud
    cloud.zones_for("us-east-1", "m5.large", None)
    machine = cloud.create(wanted, Payload({"command": "true"}, secrets={"A": "b"}))
    cloud.console_log(machine.id)
    cloud.discard(wanted)
    cloud.terminate(machine.id)
    wanted = intent(world, f"{run_id}y")
    cloud.arm_kill(wanted)
    list(checks(("us-east-1",), world.clock.now()))
    billed(date(2026, 11, 1))
    for look in remains(wanted, machine.id, None).values():
        look()
    _read_prices(world.clock.now())
    called = {f"{service}:{action}" for key, service, action in world.calls if key == "launcher"}
    cloud.disarm_kill(wanted)
    assert called == actions(launcher_policy(NAMES)) - _IMPLIED


def _read_prices(now: datetime) -> None:
    """As `prices refresh` and `prices quotas` do, whatever the loopback has to say."""
    clients, known = Clients.connect(), Known(now, {}, {})
    assert clients is not None
    scope = Scope(instance_types=frozenset({"m5.large"}))
    for asked in (
        lambda: clients.products("us-east-1", scope),
        lambda: clients.spot_history("us-east-1", scope, known),
        lambda: clients.types("us-east-1", scope, known),
        lambda: clients.quotas("us-east-1"),
    ):
        with suppress(FeedError):
            list(asked())


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "eusc-de-east-1"])
def test_other_partitions_are_refused(region: str) -> None:
    for form in (cloudformation, terraform):
        with pytest.raises(InputError, match="another partition"):
            form(region)


def test_rights_that_change_something_are_bound_to_what_is_ours() -> None:
    harmless = ("Describe", "List", "Get")
    for policy in (launcher_policy(NAMES), guest_policy(NAMES), kill_policy(NAMES)):
        for statement in policy["Statement"]:
            for action in statement["Action"]:
                if not action.partition(":")[2].startswith(harmless):
                    assert statement["Resource"] != "*", action


def test_ending_machines_is_bound_to_the_runs_tag() -> None:
    for policy in (launcher_policy(NAMES), kill_policy(NAMES)):
        (statement,) = [s for s in policy["Statement"] if "ec2:TerminateInstances" in s["Action"]]
        assert "StringLike" in statement["Condition"]


@pytest.mark.parametrize("text", [cloudformation("eu-west-1"), terraform("eu-west-1")])
def test_nothing_is_open_to_the_world(text: str) -> None:
    document = json.loads(text)
    resources = json.dumps(document.get("Resources") or document["resource"]["aws_s3_bucket"])
    assert "0.0.0.0/0" not in resources
    if "resource" in document:
        groups = document["resource"]["aws_security_group"]
        assert "ingress" not in groups["closed"]
        assert [rule["self"] for rule in groups["nodes"]["ingress"]] == [True]
        assert groups["nodes"]["ingress"][0]["cidr_blocks"] == []


def test_the_template_is_what_cloudformation_takes(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    file.write_text(cloudformation("us-east-1"))
    lint = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (lint.returncode, lint.stdout) == (0, "")


def test_both_forms_say_the_same() -> None:
    stack = json.loads(cloudformation("us-east-1"))["Resources"]
    code = json.loads(terraform("us-east-1"))["resource"]

    def stack_policy(role: str) -> Any:
        return stack[role]["Properties"]["Policies"][0]["PolicyDocument"]

    def account_free(document: Any) -> str:
        text = json.dumps(document, sort_keys=True)
        for own in ("${AWS::AccountId}", "${data.aws_caller_identity.me.account_id}"):
            text = text.replace(own, "ACCOUNT")
        for later in ("${!ec2:", "$${ec2:"):
            text = text.replace(later, "${ec2:")
        return text.replace('{"Fn::Sub": ', "").replace("}", "")

    for role, name in (("GuestRole", "guest"), ("KillRole", "kill")):
        other = json.loads(code["aws_iam_role_policy"][name]["policy"])
        assert account_free(stack_policy(role)) == account_free(other)
        assert stack[role]["Properties"]["RoleName"] == code["aws_iam_role"][name]["name"]
    launcher = stack["LauncherPolicy"]["Properties"]["PolicyDocument"]
    other = json.loads(code["aws_iam_policy"]["launcher"]["policy"])
    assert account_free(launcher) == account_free(other)


def test_a_kill_role_without_its_rights_shows_in_the_dead_letters(
    spoiled: StrictAws, runs: AwsRuns, run_id: str
) -> None:
    from tests.support.aws.account import client_of

    iam = client_of("iam", "us-east-1", spoiled.url)
    iam.delete_role_policy(RoleName=NAMES.kill_role, PolicyName="mlbroker")
    wanted = intent(spoiled, run_id)
    runs.cloud.arm_kill(wanted)
    spoiled.clock.advance(7200)
    assert [name for name, _ in spoiled.kills.dead_letters] == [wanted.token]
    runs.cloud.disarm_kill(wanted)


def test_wrong_wishes_name_what_there_is() -> None:
    with pytest.raises(InputError, match=r"Known: .*aws"):
        setup_of("mars", None, None)
    with pytest.raises(InputError, match="cloudformation, terraform"):
        setup_of("aws", None, "pulumi")
    with pytest.raises(InputError, match="region"):
        setup_of("aws", "../../etc", None)
