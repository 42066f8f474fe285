"""Where in a region a machine is put: a subnet of the wanted zone, in a group that is closed."""

from typing import NamedTuple

from mlbroker.broker.clouds.aws.calls import Calls, translated
from mlbroker.broker.clouds.interface import Denied, NoCapacity

SUBNET_TAG = "mlbroker"


class Subnet(NamedTuple):
    """A subnet with its place."""

    id: str
    vpc_id: str
    zone: str


def subnets(calls: Calls, region: str) -> tuple[Subnet, ...]:
    """Those tagged `mlbroker`, else the default ones; ordered by zone."""
    with translated(f"aws {region}"):
        for chosen in (
            {"Name": "tag-key", "Values": [SUBNET_TAG]},
            {"Name": "default-for-az", "Values": ["true"]},
        ):
            found = calls.listed("ec2", region, "describe_subnets", "Subnets", Filters=[chosen])
            if found:
                placed = [Subnet(s["SubnetId"], s["VpcId"], s["AvailabilityZone"]) for s in found]
                return tuple(sorted(placed, key=lambda subnet: (subnet.zone, subnet.id)))
    raise Denied(
        "there is no subnet to launch in",
        where=f"aws {region}",
        hint=f"Restore the default VPC, or tag a subnet that reaches the internet `{SUBNET_TAG}`.",
    )


def subnet_of(calls: Calls, region: str, zone: str | None) -> Subnet:
    """The subnet of this zone, or the first."""
    for subnet in subnets(calls, region):
        if zone in (None, subnet.zone):
            return subnet
    raise NoCapacity(f"there is no subnet in {zone}", where=f"aws {region}")


def zones_offering(calls: Calls, region: str, instance_type: str) -> tuple[str, ...]:
    """The zones with a subnet of ours where this machine type is offered at all."""
    filters = [{"Name": "instance-type", "Values": [instance_type]}]
    with translated(f"aws {region}"):
        offerings = calls.listed(
            "ec2", region, "describe_instance_type_offerings", "InstanceTypeOfferings",
            LocationType="availability-zone", Filters=filters,
        )  # fmt: skip
    offered = {offering["Location"] for offering in offerings}
    with_subnet = {subnet.zone for subnet in subnets(calls, region)}
    return tuple(sorted(offered & with_subnet))


def group_id(calls: Calls, region: str, name: str, vpc_id: str) -> str:
    """The security group of this name, which must let nobody in from outside."""
    filters = [
        {"Name": "group-name", "Values": [name]},
        {"Name": "vpc-id", "Values": [vpc_id]},
    ]
    with translated(f"aws {region}"):
        found = calls.listed(
            "ec2", region, "describe_security_groups", "SecurityGroups", Filters=filters
        )
    if not found:
        raise Denied(
            f"there is no security group {name} in {vpc_id}",
            where=f"aws {region}",
            hint=f"`mlbroker init --cloud aws --region {region}` writes what is missing.",
        )
    group = found[0]
    open_to = [
        source
        for rule in group.get("IpPermissions", [])
        for source in (*rule.get("IpRanges", []), *rule.get("Ipv6Ranges", []))
    ]
    if open_to:
        raise Denied(
            f"security group {name} lets others in from outside",
            where=f"aws {region}",
            hint="Machines of mlbroker need no open port: remove the group's inbound rules.",
        )
    return str(group["GroupId"])
