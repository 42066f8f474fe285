"""What may be left of an attempt on AWS (volume, interface, schedule, files), and who ended it."""

from collections.abc import Sequence

from mlbroker.broker.clouds.aws.calls import Calls, translated, unless
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.interface import TOKEN_TAG, Intent
from mlbroker.broker.clouds.leftovers import Ender, Looks, common
from mlbroker.broker.clouds.rented import id_parts

# "The instance was shut down using the Amazon EC2 API"; this program had not called it.
_BY_A_CALL = "Client.UserInitiatedShutdown"


def remains(intent: Intent, machine_id: str, secrets_at: str | None) -> Looks:
    """Secrets lie among a machine's files; its address goes with its interface."""
    calls = Calls()
    cloud = AwsCloud(calls)
    region = intent.region
    wanted = [{"Name": f"tag:{TOKEN_TAG}", "Values": [intent.token]}]

    def listed(operation: str, kind: str, name: str) -> Sequence[str]:
        with translated(f"aws {region}"):
            found = calls.listed("ec2", region, operation, kind, Filters=wanted)
        return [str(one[name]) for one in found]

    def schedule() -> list[str]:
        client = calls.client("scheduler", region)
        with translated(f"aws {region}"), unless("ResourceNotFoundException"):
            return [str(client.get_schedule(Name=intent.token)["Name"])]
        return []

    return {
        **common(cloud, intent, (intent.token, *id_parts(machine_id)[1])),
        "disk": lambda: listed("describe_volumes", "Volumes", "VolumeId"),
        "network interface and address": lambda: listed(
            "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"
        ),
        "kill schedule": schedule,
    }


def ended_by(intent: Intent, machine_id: str) -> Ender | None:
    """EC2 tells a call to it from a shutdown from within, for an hour (its model, StateReason)."""
    wanted = [{"Name": f"tag:{TOKEN_TAG}", "Values": [intent.token]}]
    with translated(f"aws {intent.region}"):
        found = Calls().listed(
            "ec2", intent.region, "describe_instances", "Reservations", Filters=wanted
        )
    instances = [one for group in found for one in group["Instances"]]
    codes = sorted({str(one.get("StateReason", {}).get("Code", "")) for one in instances} - {""})
    if not codes:
        return None
    return Ender(codes == [_BY_A_CALL], f"EC2 says {', '.join(codes)}")
