"""Where in a region a machine is put: a subnet that lets nobody in, with or without an address."""

from typing import Any, NamedTuple

from mlbroker.broker.clouds.azure.calls import Calls, translated
from mlbroker.broker.clouds.azure.names import GROUP_PREFIX, NAME, Names
from mlbroker.broker.clouds.interface import Denied

ANYBODY = frozenset({"*", "0.0.0.0/0", "::/0", "Internet", "Any"})


class Spot(NamedTuple):
    """A place in the network. Without another way out the machine needs an address."""

    subnet: str
    firewall: str
    needs_address: bool


def spot_in(calls: Calls, names: Names) -> Spot:
    """The region's subnet, once its security group was seen to be closed."""
    where = f"azure {names.region}"
    with translated(where):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            subnet = calls.network.subnets.get(names.group, NAME, NAME)
            firewall = calls.network.network_security_groups.get(names.group, NAME)
        except ResourceNotFoundError:
            raise Denied(
                f"there is no subnet and security group {NAME} in {names.group}",
                where=where,
                hint=how_to_set_up(names.region),
            ) from None
    for rule in firewall.security_rules or ():
        if _lets_in(rule):
            raise Denied(
                f"rule {rule.name} of security group {NAME} lets others in",
                where=where,
                hint="Machines of mlbroker need no open port: remove the rule.",
            )
    return Spot(names.subnet, names.firewall, subnet.nat_gateway is None)


def regions_set_up(calls: Calls) -> frozenset[str]:
    """Told by the resource groups: one call for all regions."""
    with translated("azure"):
        groups = list(calls.resources.resource_groups.list())
    return frozenset(
        str(group.location) for group in groups if group.name == GROUP_PREFIX + str(group.location)
    )


def how_to_set_up(region: str) -> str:
    """In words."""
    return f"`mlbroker init --cloud azure --region {region}` writes what the region needs once."


def _lets_in(rule: Any) -> bool:
    inward = rule.direction == "Inbound" and rule.access == "Allow"
    sources = {rule.source_address_prefix, *(rule.source_address_prefixes or ())}
    return bool(inward) and bool(sources & ANYBODY)
