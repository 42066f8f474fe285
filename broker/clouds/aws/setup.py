"""What an account needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
from typing import Any

from mlbroker.broker.clouds.aws.names import Names
from mlbroker.broker.clouds.aws.roles import (
    assumed_by,
    guest_policy,
    kill_policy,
    launcher_policy,
)
from mlbroker.broker.clouds.rented import KEEP_DAYS, Form
from mlbroker.broker.clouds.templates import filled, names_of
from mlbroker.broker.errors import InputError

_MACHINES = ["ec2.amazonaws.com"]
# How a policy names the instance that asks, which IAM knows when it asks.
LATER = "${ec2:"
# China, GovCloud and the sovereign clouds: their names of resources begin otherwise, and the book
# has no price of theirs.
_OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")
_KILLERS = ["scheduler.amazonaws.com", "ssm.amazonaws.com"]


def cloudformation(region: str) -> str:
    """The set-up as a CloudFormation template, for any account."""
    names = Names("${AWS::AccountId}", region)
    values = names_of(names) | _rights(names) | {"keep_days": KEEP_DAYS}
    template = filled("aws", "cloudformation.yaml", values)
    return json.dumps(_substituted(template), indent=2) + "\n"


def terraform(region: str) -> str:
    """The same as Terraform's JSON configuration (`mlbroker.tf.json`)."""
    names = Names("${data.aws_caller_identity.me.account_id}", region)
    # What IAM fills in later is doubled: Terraform would fill it in itself.
    rights = {
        name: json.dumps(it, sort_keys=True).replace(LATER, "$" + LATER)
        for name, it in _rights(names).items()
    }
    values = names_of(names) | rights | {"keep_days": KEEP_DAYS}
    return json.dumps(filled("aws", "terraform.yaml", values), indent=2) + "\n"


def _rights(names: Names) -> dict[str, Any]:
    if names.region.startswith(_OTHER_PARTITIONS):
        raise InputError(
            f"{names.region} is of another partition of AWS, which mlbroker does not launch in",
            where="--region",
            hint="Choose a region of the public cloud, such as us-east-1.",
        )
    return {
        "guest_trust": assumed_by(_MACHINES, names),
        "kill_trust": assumed_by(_KILLERS, names),
        "guest_policy": guest_policy(names),
        "kill_policy": kill_policy(names),
        "launcher_policy": launcher_policy(names),
    }


def _substituted(value: Any) -> Any:
    """CloudFormation fills an account number in only where it is told to, and there everything."""
    if isinstance(value, dict):
        return {key: _substituted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item) for item in value]
    if not isinstance(value, str) or "${AWS::" not in value:
        return value
    return {"Fn::Sub": value.replace(LATER, LATER.replace("{", "{!"))}


FORMS = {
    "cloudformation": Form(
        cloudformation,
        ".json",
        "aws cloudformation deploy --region {region} --stack-name mlbroker "
        "--template-file {file} --capabilities CAPABILITY_NAMED_IAM",
    ),
    "terraform": Form(terraform, ".tf.json", "terraform init && terraform apply"),
}
