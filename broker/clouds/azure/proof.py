"""What may be left of an attempt on Azure: its resource group, Logic App, secrets, files and seat.

The group holds the machine, its disk, interface and address, and the rights on it. And who ended
it.
"""

from mlbroker.broker.clouds.azure.calls import Calls, translated
from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.azure.kill import is_armed, principal_of
from mlbroker.broker.clouds.azure.machines import enders
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.leftovers import Ender, Looks, common


def remains(intent: Intent, machine_id: str, secrets_at: str | None) -> Looks:
    """`secrets_at` is where they were; whoever launches may remove them, and not look."""
    calls = Calls()
    cloud = AzureCloud(calls)
    names = Names(calls.subscription, intent.region)

    def group() -> list[str]:
        with translated("azure"):
            from azure.core.exceptions import ResourceNotFoundError

            try:
                return [str(calls.resources.resource_groups.get(intent.token).name)]
            except ResourceNotFoundError:
                return []

    def secrets() -> list[str]:
        vault, _, name = (secrets_at or "").partition("/")
        found = calls.ask_vault("DELETE", vault, f"secrets/{name}")
        return [] if found is None else ["secret"]

    found = {
        **common(cloud, intent, (intent.token,)),
        "resource group with disk, interface, address and rights": group,
        "Logic App of the kill": lambda: (
            [intent.token] if is_armed(calls, names, intent.token) else []
        ),
    }
    return {**found, "secrets": secrets} if secrets_at else found


def ended_by(intent: Intent, machine_id: str) -> Ender | None:
    """The activity log names callers, some minutes later: a managed identity by its object's id."""
    calls = Calls()
    names = Names(calls.subscription, intent.region)
    callers = enders(calls, intent.token) - {""}
    if not callers:
        return None
    if principal_of(calls, names, names.ender).lower() in callers:
        return Ender(True, "the activity log names the identity of the Logic Apps")
    return Ender(None, "the activity log names another identity than that of the Logic Apps")
