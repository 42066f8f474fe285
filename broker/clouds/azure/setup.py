"""What a subscription needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
import uuid
from typing import Any

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.kill import role_id
from mlbroker.broker.clouds.azure.names import ENDER, Names, seat_identity
from mlbroker.broker.clouds.azure.roles import (
    GUEST,
    GUEST_DATA,
    LAUNCHER,
    LAUNCHER_DATA,
    own_blobs,
)
from mlbroker.broker.clouds.rented import KEEP_DAYS, Form
from mlbroker.broker.clouds.seats import SEATS
from mlbroker.broker.clouds.templates import filled, names_of

RANGE = "10.64.0.0/18"
_ROLES = uuid.UUID("8f2f5c0e-3b11-4a55-9a9c-0d1c2f4a6b7e")


def template(region: str) -> str:
    """The set-up as a template of Azure Resource Manager, for the whole subscription."""
    return json.dumps(document(Names(Calls().subscription, region)), indent=2) + "\n"


def document(names: Names) -> dict[str, Any]:
    """The template as a value."""
    data_of_machines = _number(names, "guest")
    all_identities = (ENDER, *map(seat_identity, SEATS))
    values = names_of(names) | {
        "short": names.subscription[:8],
        "range": RANGE,
        "keep_days": KEEP_DAYS,
        "launcher": list(LAUNCHER),
        "launcher_data": list(LAUNCHER_DATA),
        "guest_data": list(GUEST_DATA),
        "guest_rights": list(GUEST),
        # One for each region: it is given on condition of that region's identities, and Azure
        # takes no second condition for the same role.
        "launcher_role": _number(names, f"launcher in {names.region}"),
        "data_role": _number(names, "data"),
        "guest_role": data_of_machines,
        "run_role": role_id(names.subscription),
        "data_of_machines": f"/subscriptions/{names.subscription}/providers/"
        f"Microsoft.Authorization/roleDefinitions/{data_of_machines}",
        "identities": f"[join(createArray({', '.join(map(_principal, all_identities))}), ', ')]",
    }
    whole: dict[str, Any] = filled("azure", "template.yaml", values)
    (inner,) = (one for one in whole["resources"] if one["type"].endswith("/deployments"))
    for seat in SEATS:
        of_seat = {
            "identity": seat_identity(seat),
            "vault": names.vault(seat),
            "principal": f"[{_principal(seat_identity(seat))}]",
            "own_blobs": own_blobs(seat),
            "vault_assignment": _number(names, f"vault of {names.region} {seat}"),
            "container_assignment": _number(names, f"container of {names.region} {seat}"),
        }
        inner["properties"]["template"]["resources"] += filled(
            "azure", "seat.yaml", values | of_seat
        )
    return whole


def _principal(identity: str) -> str:
    """An expression of templates: by what rights are given to an identity."""
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    return f"reference(resourceId('{kind}', '{identity}'), '2023-01-31').principalId"


def _number(names: Names, what: str) -> str:
    """By this Azure knows a role that was made before."""
    return str(uuid.uuid5(_ROLES, f"{names.subscription} {what}"))


FORMS = {
    "template": Form(
        template,
        ".json",
        "az deployment sub create --location {region} --template-file {file} "
        "--parameters launcher=$(az ad signed-in-user show --query id --output tsv)",
    )
}
