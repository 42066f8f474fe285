"""The least rights that do: for who launches, for the machines, and for the scheduler's kill.

Every action in roles.yaml is called, and nothing is called that is not there; a test holds both
to it.
"""

from typing import Any

from mlbroker.broker.clouds.aws.names import TERMINATE, Names
from mlbroker.broker.clouds.interface import RUN_TAG, TOKEN_TAG
from mlbroker.broker.clouds.templates import filled, names_of

Policy = dict[str, Any]


def launcher_policy(names: Names) -> Policy:
    """For the user, or the CI job, that calls `mlbroker run`."""
    return _policies(names)["launcher"]


def guest_policy(names: Names) -> Policy:
    """For the machines: each its own folder in the bucket, nothing else."""
    return _policies(names)["guest"]


def kill_policy(names: Names) -> Policy:
    """For the scheduler: end what carries mlbroker's tag, whoever else is alive."""
    return _policies(names)["kill"]


def assumed_by(services: list[str], names: Names) -> Policy:
    """The trust of a role: which of AWS's services take it, for this account alone."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": "sts:AssumeRole",
    }
    if services != ["ec2.amazonaws.com"]:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": names.account}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _policies(names: Names) -> dict[str, Policy]:
    tags = {"run_tag": RUN_TAG, "token_tag": TOKEN_TAG, "terminate": TERMINATE}
    found: dict[str, Policy] = filled("aws", "roles.yaml", names_of(names) | tags)
    return found
