"""What a project needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
import shlex
from typing import Any

from mlbroker.broker.clouds.gcp.names import NODES_TAG, Names
from mlbroker.broker.clouds.gcp.roles import ACT_AS, GUEST, LAUNCHER, OWN_PREFIX
from mlbroker.broker.clouds.rented import KEEP_DAYS, Form
from mlbroker.broker.clouds.templates import filled, filled_text, names_of

SERVICES = (
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)
RANGE = "10.64.0.0/18"


def own_things() -> str:
    """The condition of the machines' rights: only machines and secrets that mlbroker made."""
    parts = (
        ("compute.googleapis.com/Instance", "/instances/{name}"),
        ("secretmanager.googleapis.com/Secret", "/secrets/{name}"),
        ("secretmanager.googleapis.com/SecretVersion", "/secrets/{name}"),
    )
    return " || ".join(
        f'(resource.type == "{kind}" && resource.name.extract("{path}").startsWith("{OWN_PREFIX}"))'
        for kind, path in parts
    )


def terraform(region: str) -> str:
    """The set-up as Terraform's JSON configuration; files of several regions can lie together."""
    key = region.replace("-", "_")
    project = f"${{data.google_client_config.{key}.project}}"
    names = Names(project, region)
    values = names_of(names) | {
        "key": key,
        "keep_days": KEEP_DAYS,
        "range": RANGE,
        "nodes_tag": NODES_TAG,
        "guest_rights": list(GUEST),
        "launcher_rights": list(LAUNCHER),
        "own_things": own_things(),
    }
    document: dict[str, Any] = filled("gcp", "terraform.yaml", values)
    services = {f"{key}_{service.partition('.')[0]}": service for service in SERVICES}
    # Nothing can be made before its API is switched on.
    for made in document["resource"].values():
        for resource in made.values():
            resource["depends_on"] = [f"google_project_service.{name}" for name in services]
    document["resource"]["google_project_service"] = {
        name: {"project": project, "service": service, "disable_on_destroy": False}
        for name, service in services.items()
    }
    return json.dumps(document, indent=2) + "\n"


def gcloud(region: str) -> str:
    """The same as commands of gcloud, to be read and then run by the project's owner."""
    rule = {
        "action": {"type": "Delete"},
        "condition": {"age": KEEP_DAYS, "matchesPrefix": ["runs/"]},
    }
    condition = f"title=only what mlbroker made,expression={own_things()}"
    values = names_of(Names("$project", region)) | {
        "services": " ".join(SERVICES),
        "range": RANGE,
        "nodes_tag": NODES_TAG,
        "lifecycle": shlex.quote(json.dumps({"rule": [rule]})),
        "guest_rights": ",".join(GUEST),
        "launcher_rights": ",".join(LAUNCHER),
        "condition": shlex.quote(condition),
        "act_as": ACT_AS,
    }
    return filled_text("gcp", "gcloud.sh", values)


FORMS = {
    "terraform": Form(terraform, ".tf.json", "terraform init && terraform apply"),
    "gcloud": Form(gcloud, ".sh", "bash {file} user:YOU@example.com"),
}
