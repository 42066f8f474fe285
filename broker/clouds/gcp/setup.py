"""What a project needs once in each region, written down for its owner to apply.

mlbroker applies nothing of it by itself.
"""

import json
import shlex
from typing import Any

from mlbroker.broker.clouds.gcp.names import NODES_TAG, Names
from mlbroker.broker.clouds.gcp.roles import ACT_AS, GUEST, LAUNCHER, OWN_PREFIX
from mlbroker.broker.clouds.rented import Form

# Kept long enough to fetch results after a holiday; runs that were collected are gone at once.
KEEP_DAYS = 30
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

    def one(**fields: Any) -> dict[str, Any]:
        return {key: {"project": project, **fields}}

    guest = f"${{google_service_account.{key}.member}}"
    document: dict[str, Any] = {
        "data": {"google_client_config": {key: {}}},
        "resource": {
            "google_project_service": {
                f"{key}_{service.partition('.')[0]}": {
                    "project": project,
                    "service": service,
                    "disable_on_destroy": False,
                }
                for service in SERVICES
            },
            "google_storage_bucket": one(
                name=names.bucket,
                location=region,
                uniform_bucket_level_access=True,
                public_access_prevention="enforced",
                # Deleted is deleted: kept copies of checkpoints would go on billing.
                soft_delete_policy={"retention_duration_seconds": 0},
                lifecycle_rule={
                    "condition": {"age": KEEP_DAYS, "matches_prefix": ["runs/"]},
                    "action": {"type": "Delete"},
                },
            ),
            "google_compute_network": one(name=names.network, auto_create_subnetworks=False),
            "google_compute_subnetwork": one(
                name=names.network,
                region=region,
                network=f"${{google_compute_network.{key}.id}}",
                ip_cidr_range=RANGE,
                private_ip_google_access=True,
            ),
            "google_compute_firewall": one(
                name=names.nodes_rule,
                description="mlbroker runs of several machines: only each other",
                network=f"${{google_compute_network.{key}.id}}",
                direction="INGRESS",
                allow={"protocol": "all"},
                source_tags=[NODES_TAG],
                target_tags=[NODES_TAG],
            ),
            "google_service_account": one(
                account_id=names.guest_account, display_name="mlbroker machines"
            ),
            "google_project_iam_custom_role": {
                f"{key}_guest": {
                    "project": project,
                    "role_id": names.guest_role,
                    "title": f"mlbroker machines in {region}",
                    "permissions": list(GUEST),
                },
                f"{key}_launcher": {
                    "project": project,
                    "role_id": names.launcher_role,
                    "title": f"Whoever calls mlbroker run in {region}",
                    "permissions": list(LAUNCHER),
                },
            },
            "google_project_iam_member": one(
                role=f"${{google_project_iam_custom_role.{key}_guest.id}}",
                member=guest,
                condition={"title": "only what mlbroker made", "expression": own_things()},
            ),
            "google_storage_bucket_iam_member": {
                key: {
                    "bucket": f"${{google_storage_bucket.{key}.name}}",
                    "role": f"${{google_project_iam_custom_role.{key}_guest.id}}",
                    "member": guest,
                }
            },
        },
        "output": {
            f"{key}_launcher_role": {
                "description": "Give it to whoever calls mlbroker run, with "
                "roles/iam.serviceAccountUser on the machines' service account",
                "value": f"${{google_project_iam_custom_role.{key}_launcher.id}}",
            }
        },
    }
    _after_services(document["resource"], key)
    return json.dumps(document, indent=2) + "\n"


def _after_services(resources: dict[str, Any], key: str) -> None:
    """Nothing can be made before its API is switched on."""
    services = [f"google_project_service.{key}_{service.partition('.')[0]}" for service in SERVICES]
    for kind, made in resources.items():
        if kind != "google_project_service":
            for resource in made.values():
                resource["depends_on"] = services


def gcloud(region: str) -> str:
    """The same as commands of gcloud, to be read and then run by the project's owner."""
    names = Names("$project", region)
    launcher, guest = ",".join(LAUNCHER), ",".join(GUEST)
    lifecycle = json.dumps(
        {
            "rule": [
                {
                    "action": {"type": "Delete"},
                    "condition": {"age": KEEP_DAYS, "matchesPrefix": ["runs/"]},
                }
            ]
        }
    )
    condition = f"title=only what mlbroker made,expression={own_things()}"
    return f"""\
#!/bin/bash
# Sets mlbroker up in {region}. Read it, then: bash FILE [MEMBER], where MEMBER calls mlbroker run
# (user:you@example.com, serviceAccount:ci@…); without one, only owners of the project can.
set -euo pipefail
project="$(gcloud config get-value project)"
gcloud services enable {" ".join(SERVICES)}
gcloud compute networks create {names.network} --subnet-mode=custom
gcloud compute networks subnets create {names.network} --network={names.network} \\
  --region={region} --range={RANGE} --enable-private-ip-google-access
gcloud compute firewall-rules create {names.nodes_rule} --network={names.network} \\
  --direction=INGRESS --allow=all --source-tags={NODES_TAG} --target-tags={NODES_TAG}
gcloud storage buckets create "gs://{names.bucket}" --location={region} \\
  --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0
gcloud storage buckets update "gs://{names.bucket}" \\
  --lifecycle-file=<(printf %s {shlex.quote(lifecycle)})
gcloud iam roles create {names.guest_role} --project="$project" --permissions={guest}
gcloud iam roles create {names.launcher_role} --project="$project" \\
  --permissions={launcher}
gcloud iam service-accounts create {names.guest_account} --display-name="mlbroker machines"
guest="serviceAccount:{names.guest}"
gcloud projects add-iam-policy-binding "$project" --member="$guest" \\
  --role="projects/$project/roles/{names.guest_role}" \\
  --condition={shlex.quote(condition)}
gcloud storage buckets add-iam-policy-binding "gs://{names.bucket}" --member="$guest" \\
  --role="projects/$project/roles/{names.guest_role}"
if [ $# -gt 0 ]; then
  gcloud projects add-iam-policy-binding "$project" --member="$1" --condition=None \\
    --role="projects/$project/roles/{names.launcher_role}"
  # It holds {ACT_AS}, for these machines alone.
  gcloud iam service-accounts add-iam-policy-binding {names.guest} \\
    --member="$1" --role=roles/iam.serviceAccountUser
fi
"""


# Where somebody begins who names no region.
REGION = "us-central1"
FORMS = {
    "terraform": Form(terraform, ".tf.json", "terraform init && terraform apply"),
    "gcloud": Form(gcloud, ".sh", "bash {file} user:YOU@example.com"),
}
