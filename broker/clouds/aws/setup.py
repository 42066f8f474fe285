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
from mlbroker.broker.clouds.rented import Form

# Kept long enough to fetch results after a holiday; runs that were collected are gone at once.
KEEP_DAYS = 30
_MACHINES = ["ec2.amazonaws.com"]
_KILLERS = ["scheduler.amazonaws.com", "ssm.amazonaws.com"]


def cloudformation(region: str) -> str:
    """The set-up as a CloudFormation template, for any account."""
    names = Names("${AWS::AccountId}", region)
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"mlbroker in {region}: bucket, roles, kill switch",
        "Resources": {
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Properties": {
                    "BucketName": names.bucket,
                    "PublicAccessBlockConfiguration": {
                        "BlockPublicAcls": True,
                        "BlockPublicPolicy": True,
                        "IgnorePublicAcls": True,
                        "RestrictPublicBuckets": True,
                    },
                    "BucketEncryption": {
                        "ServerSideEncryptionConfiguration": [
                            {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                        ]
                    },
                    "LifecycleConfiguration": {
                        "Rules": [
                            {
                                "Id": "old-runs",
                                "Status": "Enabled",
                                "Prefix": "runs/",
                                "ExpirationInDays": KEEP_DAYS,
                                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
                            }
                        ]
                    },
                },
            },
            "GuestRole": _role(names.guest, _MACHINES, guest_policy(names), names),
            "GuestProfile": {
                "Type": "AWS::IAM::InstanceProfile",
                "Properties": {
                    "InstanceProfileName": names.guest,
                    "Roles": [{"Ref": "GuestRole"}],
                },
            },
            "KillRole": _role(names.kill_role, _KILLERS, kill_policy(names), names),
            "KillFailed": {
                "Type": "AWS::SQS::Queue",
                "Properties": {
                    "QueueName": names.dead_letters,
                    "MessageRetentionPeriod": 1209600,
                    "SqsManagedSseEnabled": True,
                },
            },
            "ClosedGroup": _group(names.closed_group, "mlbroker machines: nothing comes in"),
            "NodesGroup": _group(
                names.nodes_group, "mlbroker runs of several machines: only each other"
            ),
            "NodesReachEachOther": {
                "Type": "AWS::EC2::SecurityGroupIngress",
                "Properties": {
                    "GroupId": {"Fn::GetAtt": ["NodesGroup", "GroupId"]},
                    "IpProtocol": "-1",
                    "SourceSecurityGroupId": {"Fn::GetAtt": ["NodesGroup", "GroupId"]},
                },
            },
            "LauncherPolicy": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "ManagedPolicyName": f"mlbroker-launcher-{names.region}",
                    "Description": "For whoever calls mlbroker run",
                    "PolicyDocument": launcher_policy(names),
                },
            },
        },
    }
    return json.dumps(_substituted(template), indent=2) + "\n"


def terraform(region: str) -> str:
    """The same as Terraform's JSON configuration (`mlbroker.tf.json`)."""
    names = Names("${data.aws_caller_identity.me.account_id}", region)
    document = {
        "provider": {"aws": {"region": region}},
        "data": {"aws_caller_identity": {"me": {}}},
        "resource": {
            "aws_s3_bucket": {"mlbroker": {"bucket": names.bucket}},
            "aws_s3_bucket_public_access_block": {
                "mlbroker": {
                    "bucket": "${aws_s3_bucket.mlbroker.id}",
                    "block_public_acls": True,
                    "block_public_policy": True,
                    "ignore_public_acls": True,
                    "restrict_public_buckets": True,
                }
            },
            "aws_s3_bucket_server_side_encryption_configuration": {
                "mlbroker": {
                    "bucket": "${aws_s3_bucket.mlbroker.id}",
                    "rule": {
                        "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}
                    },
                }
            },
            "aws_s3_bucket_lifecycle_configuration": {
                "mlbroker": {
                    "bucket": "${aws_s3_bucket.mlbroker.id}",
                    "rule": {
                        "id": "old-runs",
                        "status": "Enabled",
                        "filter": {"prefix": "runs/"},
                        "expiration": {"days": KEEP_DAYS},
                        "abort_incomplete_multipart_upload": {"days_after_initiation": 2},
                    },
                }
            },
            "aws_iam_role": {
                "guest": _tf_role(names.guest, _MACHINES, names),
                "kill": _tf_role(names.kill_role, _KILLERS, names),
            },
            "aws_iam_role_policy": {
                "guest": _tf_role_policy("guest", guest_policy(names)),
                "kill": _tf_role_policy("kill", kill_policy(names)),
            },
            "aws_iam_instance_profile": {
                "guest": {"name": names.guest, "role": "${aws_iam_role.guest.name}"}
            },
            "aws_iam_policy": {
                "launcher": {
                    "name": f"mlbroker-launcher-{names.region}",
                    "description": "For whoever calls mlbroker run",
                    "policy": _text(launcher_policy(names)),
                }
            },
            "aws_sqs_queue": {
                "kill_failed": {
                    "name": names.dead_letters,
                    "message_retention_seconds": 1209600,
                    "sqs_managed_sse_enabled": True,
                }
            },
            "aws_security_group": {
                "closed": _tf_group(names.closed_group, "mlbroker machines: nothing comes in"),
                "nodes": {
                    **_tf_group(
                        names.nodes_group, "mlbroker runs of several machines: only each other"
                    ),
                    "ingress": [_tf_rule(self=True)],
                },
            },
        },
    }
    return json.dumps(document, indent=2) + "\n"


def _substituted(value: Any) -> Any:
    """CloudFormation fills an account number in only where it is told to."""
    if isinstance(value, dict):
        return {key: _substituted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item) for item in value]
    return {"Fn::Sub": value} if isinstance(value, str) and "${AWS::" in value else value


def _role(name: str, services: list[str], policy: dict[str, Any], names: Names) -> dict[str, Any]:
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "AssumeRolePolicyDocument": assumed_by(services, names),
            "Policies": [{"PolicyName": "mlbroker", "PolicyDocument": policy}],
        },
    }


def _group(name: str, description: str) -> dict[str, Any]:
    return {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {"GroupName": name, "GroupDescription": description},
    }


def _tf_role(name: str, services: list[str], names: Names) -> dict[str, Any]:
    return {"name": name, "assume_role_policy": _text(assumed_by(services, names))}


def _tf_role_policy(role: str, policy: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "mlbroker",
        "role": f"${{aws_iam_role.{role}.id}}",
        "policy": _text(policy),
    }


def _tf_group(name: str, description: str) -> dict[str, Any]:
    everywhere = _tf_rule(cidr_blocks=["0.0.0.0/0"], ipv6_cidr_blocks=["::/0"])
    return {"name": name, "description": description, "egress": [everywhere]}


def _tf_rule(**given: Any) -> dict[str, Any]:
    # Terraform's attribute form wants every attribute of a rule named.
    return {
        "description": "",
        "from_port": 0,
        "to_port": 0,
        "protocol": "-1",
        "cidr_blocks": [],
        "ipv6_cidr_blocks": [],
        "prefix_list_ids": [],
        "security_groups": [],
        "self": False,
        **given,
    }


def _text(policy: dict[str, Any]) -> str:
    return json.dumps(policy, sort_keys=True)


# Where somebody begins who names no region.
REGION = "us-east-1"
FORMS = {
    "cloudformation": Form(
        cloudformation,
        ".json",
        "aws cloudformation deploy --region {region} --stack-name mlbroker "
        "--template-file {file} --capabilities CAPABILITY_NAMED_IAM",
    ),
    "terraform": Form(terraform, ".tf.json", "terraform init && terraform apply"),
}
