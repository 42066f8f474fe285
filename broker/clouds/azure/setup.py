"""What a subscription needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
import uuid

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.kill import role_id
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.azure.roles import GUEST, GUEST_DATA, LAUNCHER, LAUNCHER_DATA
from mlbroker.broker.clouds.rented import KEEP_DAYS, Form
from mlbroker.broker.clouds.templates import filled, names_of

RANGE = "10.64.0.0/18"
_ROLES = uuid.UUID("8f2f5c0e-3b11-4a55-9a9c-0d1c2f4a6b7e")


def template(region: str) -> str:
    """The set-up as a template of Azure Resource Manager, for the whole subscription."""
    names = Names(Calls().subscription, region)
    values = names_of(names) | {
        "short": names.subscription[:8],
        "range": RANGE,
        "keep_days": KEEP_DAYS,
        "launcher": list(LAUNCHER),
        "launcher_data": list(LAUNCHER_DATA),
        "guest_data": list(GUEST_DATA),
        "guest_rights": list(GUEST),
        "launcher_role": _number(names, "launcher"),
        "data_role": _number(names, "data"),
        "guest_role": _number(names, "guest"),
        "run_role": role_id(names.subscription),
        "guest_assignment": _number(names, f"guest of {region}"),
    }
    return json.dumps(filled("azure", "template.yaml", values), indent=2) + "\n"


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
