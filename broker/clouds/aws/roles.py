"""The least rights that do: for who launches, for the machines, and for the scheduler's kill.

Every action here is called, and nothing is called that is not here; a test holds both to it.
"""

from typing import Any

from mlbroker.broker.clouds.aws.names import RUN_TAG, TERMINATE, TOKEN_TAG, Names

Policy = dict[str, Any]


def launcher_policy(names: Names) -> Policy:
    """For the user, or the CI job, that calls `mlbroker run`."""
    account, region = names.account, names.region
    ec2 = f"arn:aws:ec2:{region}:{account}"
    in_region = {"StringEquals": {"aws:RequestedRegion": region}}
    return _policy(
        _allow(
            "Look", ["sts:GetCallerIdentity", "ec2:DescribeRegions", "s3:ListAllMyBuckets"], "*"
        ),
        _allow(
            "LookInRegion",
            [
                "ec2:DescribeImages",
                "ec2:DescribeInstances",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
            ],
            "*",
        ),
        _allow(
            "LaunchTagged",
            ["ec2:RunInstances"],
            [f"{ec2}:{kind}/*" for kind in ("instance", "network-interface", "volume")],
            {"StringLike": {f"aws:RequestTag/{TOKEN_TAG}": "mlb-*"}},
        ),
        _allow(
            "LaunchWith",
            ["ec2:RunInstances"],
            [f"{ec2}:{kind}/*" for kind in ("security-group", "subnet", "spot-instances-request")]
            + [f"arn:aws:ec2:{region}::image/*", f"arn:aws:ec2:{region}::snapshot/*"],
        ),
        _allow(
            "TagAtLaunch",
            ["ec2:CreateTags"],
            f"{ec2}:*/*",
            {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        ),
        _allow(
            "EndOwn",
            ["ec2:TerminateInstances", "ec2:GetConsoleOutput"],
            f"{ec2}:instance/*",
            {"StringLike": {f"aws:ResourceTag/{TOKEN_TAG}": "mlb-*"}},
        ),
        _allow(
            "HandRolesOver",
            ["iam:PassRole"],
            [f"arn:aws:iam::{account}:role/{role}" for role in (names.guest, names.kill_role)],
            {
                "StringEquals": {
                    "iam:PassedToService": ["ec2.amazonaws.com", "scheduler.amazonaws.com"]
                }
            },
        ),
        _allow(
            "ArmKill",
            ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:GetSchedule"],
            f"arn:aws:scheduler:{region}:{account}:schedule/default/mlb-*",
        ),
        _allow("CheckFailedKills", ["sqs:GetQueueAttributes"], names.dead_letters_arn),
        _allow("CheckQuotas", ["servicequotas:GetServiceQuota"], "*", in_region),
        _allow("CompareBill", ["ce:GetCostAndUsage"], "*"),
        _allow("CheckKills", ["scheduler:ListSchedules"], "*", in_region),
        _allow("FindImage", ["ssm:GetParameter"], f"arn:aws:ssm:{region}::parameter/aws/service/*"),
        _allow(
            "HandSecretsOver",
            ["ssm:PutParameter", "ssm:GetParametersByPath", "ssm:DeleteParameters"],
            f"arn:aws:ssm:{region}:{account}:parameter/mlbroker/*",
        ),
        _allow(
            "Box",
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            f"arn:aws:s3:::{names.bucket}/runs/*",
        ),
        _allow("ListBox", ["s3:ListBucket"], f"arn:aws:s3:::{names.bucket}"),
    )


def guest_policy(names: Names) -> Policy:
    """For the machines: their job in, their results out, nothing else."""
    account, region = names.account, names.region
    return _policy(
        _allow(
            "Box",
            ["s3:GetObject", "s3:PutObject"],
            f"arn:aws:s3:::{names.bucket}/runs/*",
        ),
        # Without it S3 answers a missing object with a refusal.
        _allow("ListBox", ["s3:ListBucket"], f"arn:aws:s3:::{names.bucket}"),
        _allow(
            "Secrets",
            ["ssm:GetParametersByPath", "ssm:DeleteParameters"],
            f"arn:aws:ssm:{region}:{account}:parameter/mlbroker/*",
        ),
    )


def kill_policy(names: Names) -> Policy:
    """For the scheduler: end what carries mlbroker's tag, whoever else is alive."""
    account, region = names.account, names.region
    return _policy(
        _allow(
            "Start",
            ["ssm:StartAutomationExecution"],
            [
                f"arn:aws:ssm:{region}::automation-definition/{TERMINATE}:*",
                f"arn:aws:ssm:{region}::document/{TERMINATE}",
                f"arn:aws:ssm:{region}:{account}:automation-execution/*",
            ],
        ),
        _allow(
            "Find",
            ["tag:GetResources", "ec2:DescribeInstances", "ec2:DescribeInstanceStatus"],
            "*",
        ),
        _allow(
            "End",
            ["ec2:TerminateInstances"],
            f"arn:aws:ec2:{region}:{account}:instance/*",
            {"StringLike": {f"aws:ResourceTag/{RUN_TAG}": "*"}},
        ),
        _allow(
            "ActAsItself",
            ["iam:PassRole"],
            names.kill_role_arn,
            {"StringEquals": {"iam:PassedToService": "ssm.amazonaws.com"}},
        ),
        _allow("KeepFailures", ["sqs:SendMessage"], names.dead_letters_arn),
    )


def assumed_by(services: list[str], names: Names) -> Policy:
    """The trust of a role: which of AWS's services take it, for this account alone."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": "sts:AssumeRole",
    }
    if services != ["ec2.amazonaws.com"]:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": names.account}}
    return _policy(statement)


def _policy(*statements: dict[str, Any]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(
    sid: str,
    actions: list[str],
    resources: str | list[str],
    condition: dict[str, Any] | None = None,
) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement
