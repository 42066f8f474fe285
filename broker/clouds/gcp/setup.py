"""What a project needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
import shlex
from typing import Any

from mlbroker.broker.clouds.gcp.names import NODES_TAG, Names
from mlbroker.broker.clouds.gcp.roles import ACT_AS, GUEST, LAUNCHER
from mlbroker.broker.clouds.rented import KEEP_DAYS, Form
from mlbroker.broker.clouds.seats import SEATS, seat_folder
from mlbroker.broker.clouds.templates import filled, filled_text, names_of

SERVICES = (
    "bigquery.googleapis.com",
    "cloudbilling.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)
RANGE = "10.64.0.0/18"


def own_things(names: Names, seat: str) -> str:
    """The condition of a seat's rights in the project: its own secrets, and its own machines.

    Machines are told by their tag, which is part of the call that makes them
    (cloud.google.com/iam/docs/conditions-attribute-reference). Twelve operators are allowed.
    """
    secret = f'resource.name.extract("/secrets/{{name}}").startsWith("{names.secret(seat, "")}")'
    secrets = " || ".join(
        f'(resource.type == "secretmanager.googleapis.com/{kind}" && {secret})'
        for kind in ("Secret", "SecretVersion")
    )
    machines = (
        '(resource.type == "compute.googleapis.com/Instance" && '
        f'resource.matchTag("{names.project}/{names.seat_tag}", "{seat}"))'
    )
    return f"{secrets} || {machines}"


def own_objects(names: Names, seat: str) -> str:
    """The condition of a seat's rights on the bucket: its own folder."""
    folder = f"projects/_/buckets/{names.bucket}/objects/{seat_folder(seat)}/"
    return f'resource.name.startsWith("{folder}")'


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
    }
    document: dict[str, Any] = filled("gcp", "terraform.yaml", values)
    for seat in SEATS:
        for kind, made in filled("gcp", "seat.yaml", values | _of_seat(names, seat)).items():
            document["resource"].setdefault(kind, {}).update(made)
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
    names = Names("$project", region)
    values = names_of(names) | {
        "services": " ".join(SERVICES),
        "range": RANGE,
        "nodes_tag": NODES_TAG,
        "lifecycle": shlex.quote(json.dumps({"rule": [rule]})),
        "guest_rights": ",".join(GUEST),
        "launcher_rights": ",".join(LAUNCHER),
        "act_as": ACT_AS,
        "seats": " ".join(SEATS),
        # The script fills its own seat in.
        **_of_seat(names, "$seat"),
    }
    return filled_text("gcp", "gcloud.sh", values)


def _of_seat(names: Names, seat: str) -> dict[str, str]:
    return {
        "seat": seat,
        "guest": names.guest(seat),
        "guest_account": names.guest_account(seat),
        "own_things": own_things(names, seat),
        "own_objects": own_objects(names, seat),
    }


FORMS = {
    "terraform": Form(
        terraform,
        ".tf.json",
        "terraform init && terraform apply -var launcher_{region}=user:YOU@example.com",
    ),
    "gcloud": Form(gcloud, ".sh", "bash {file} user:YOU@example.com"),
}
