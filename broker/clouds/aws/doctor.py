"""Whether an account can be launched in: asked for real, and nothing is left behind.

Permissions are tried, not read: a dry-run launch, a schedule that is set and removed, an object
that is written and deleted.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from mlbroker.broker.clouds.aws.calls import Calls, translated, unless
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.aws.names import Names
from mlbroker.broker.clouds.aws.network import group_id, subnet_of
from mlbroker.broker.clouds.aws.roles import guest_policy, kill_policy, launcher_policy
from mlbroker.broker.clouds.checks import (
    Check,
    kill_works,
    probe,
    tried,
)
from mlbroker.broker.clouds.interface import TOKEN_TAG, Intent, Machine, MachineState
from mlbroker.broker.errors import MlbrokerError

PROBE_TYPE = "m5.large"
# The quotas that runs meet first, in vCPUs (Service Quotas, service ec2).
QUOTAS = {
    "on-demand, standard families": "L-1216C47A",
    "spot, standard families": "L-34B43A08",
    "on-demand, G and VT families": "L-DB2E81BA",
    "spot, G and VT families": "L-3819A6DF",
    "on-demand, P families": "L-417A185B",
    "spot, P2 to P4": "L-7212CCBC",
    "spot, P5 and later": "L-C4BD4855",
}


def checks(regions: tuple[str, ...], now: datetime) -> Iterator[Check]:
    """Everything a run needs, in the order in which a run would need it."""
    calls = Calls()
    try:
        account = calls.account
    except MlbrokerError as error:
        yield _bad("credentials", error)
        return
    yield Check("credentials", True, f"account {account}")
    cloud = AwsCloud(calls)
    for region in regions or (calls.home_region,):
        if region not in calls.regions:
            yield Check(
                f"{region}: region", False, "is not switched on for the account",
                "Switch it on in the account's settings, or choose another with --region.",
            )  # fmt: skip
            continue
        intent = probe("aws", region, PROBE_TYPE, now)
        hint = f"`mlbroker init --cloud aws --region {region}` writes what is missing."
        yield tried(f"{region}: bucket", partial(_bucket, cloud, intent), hint)
        yield tried(f"{region}: kill switch", partial(kill_works, cloud, intent), hint)
        yield tried(f"{region}: launch", partial(_launch, calls, cloud, intent), hint)
        yield tried(f"{region}: failed kills", partial(_failed_kills, calls, region), hint)
        yield from _audit(calls, cloud, region, now)
        yield from _quotas(calls, region)


def policies(account: str | None, region: str) -> str:
    """The least rights of launcher, machines and scheduler, as IAM policies."""
    names = Names(account or "ACCOUNT", region)
    documents = {
        "launcher (whoever calls mlbroker run)": launcher_policy(names),
        f"machines (role {names.guest})": guest_policy(names),
        f"scheduler (role {names.kill_role})": kill_policy(names),
    }
    return json.dumps(documents, indent=2)


def _bad(name: str, error: MlbrokerError) -> Check:
    return Check(name, False, error.what, error.hint)


def _bucket(cloud: AwsCloud, intent: Intent) -> str:
    """As if there were a machine."""
    cloud.equip(intent, ["i-doctor"], {"PROBE": "probe"})
    cloud.report(intent)
    cloud.discard(intent)
    return "runs and machines have folders that can be written, read and emptied"


def _launch(calls: Calls, cloud: AwsCloud, intent: Intent) -> str:
    region = intent.region
    client = calls.client("ec2", region)
    # The group of runs of several machines is needed by them alone, and missed here.
    vpc_id = subnet_of(calls, region, None).vpc_id
    group_id(calls, region, Names(calls.account, region).nodes_group, vpc_id)
    request = cloud.request(intent, script="")
    with translated(f"aws {region}"), unless("DryRunOperation"):
        client.run_instances(**request, DryRun=True)
    return f"a dry run of {intent.instance_type} with every right it needs"


def _failed_kills(calls: Calls, region: str) -> str:
    names = Names(calls.account, region)
    client = calls.client("sqs", region)
    url = f"{client.meta.endpoint_url}/{names.account}/{names.dead_letters}"
    with translated(f"aws {region}"):
        answer = client.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
    count = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    if count:
        raise MlbrokerError(
            f"{count} kills could not be delivered",
            hint=f"Read the messages of the queue {names.dead_letters}; most often the kill role "
            "lacks a right.",
        )
    return "none"


def _audit(calls: Calls, cloud: AwsCloud, region: str, now: datetime) -> Iterator[Check]:
    """Every living machine has its schedule, and no schedule fired at a machine that lives."""
    name = f"{region}: machines"
    try:
        machines = [m for m in cloud.find({}) if _lives(m) and m.id.startswith(f"{region}/")]
        armed = _schedules(calls, region)
    except MlbrokerError as error:
        yield _bad(name, error)
        return
    tokens = {machine.tags.get(TOKEN_TAG, "") for machine in machines}
    bare = sorted(tokens - set(armed))
    late = sorted(t for t in tokens & set(armed) if armed[t] + _LATE < now)
    hint = "`mlbroker reconcile` ends machines that no run accounts for."
    if bare:
        yield Check(name, False, f"without a kill switch outside: {', '.join(bare)}", hint)
    if late:
        yield Check(name, False, f"alive although their kill is due: {', '.join(late)}", hint)
    if not bare and not late:
        idle = len(set(armed) - tokens)
        yield Check(
            name, True,
            f"{len(tokens)} alive, each with its kill armed; {idle} schedules without a machine",
        )  # fmt: skip


_LATE = timedelta(seconds=AwsCloud.traits.kill_slack_s)


def _lives(machine: Machine) -> bool:
    return machine.state is not MachineState.TERMINATED


def _schedules(calls: Calls, region: str) -> dict[str, datetime]:
    client = calls.client("scheduler", region)
    found: dict[str, datetime] = {}
    with translated(f"aws {region}"):
        for page in client.get_paginator("list_schedules").paginate(NamePrefix="mlb-"):
            for entry in page["Schedules"]:
                details = client.get_schedule(Name=entry["Name"])
                moment = details["ScheduleExpression"].removeprefix("at(").removesuffix(")")
                found[entry["Name"]] = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return found


def _quotas(calls: Calls, region: str) -> Iterator[Check]:
    client: Any = calls.client("service-quotas", region)
    for words, code in QUOTAS.items():
        name = f"{region}: quota"
        try:
            with translated(f"aws {region}"):
                answer = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)
        except MlbrokerError as error:
            yield Check(name, None, f"{words}: {error.what}")
            continue
        vcpus = int(answer["Quota"]["Value"])
        hint = f"Ask for more: Service Quotas, Amazon EC2, {code}." if vcpus == 0 else None
        yield Check(name, vcpus > 0 or None, f"{words}: {vcpus} vCPUs", hint)
