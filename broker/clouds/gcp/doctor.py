"""Whether a project can be launched in: asked for real, and nothing is left behind."""

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from mlbroker.broker.clouds.checks import (
    Check,
    bucket_works,
    probe,
    seats_free,
    secrets_work,
    tried,
)
from mlbroker.broker.clouds.gcp.calls import Calls, translated
from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.gcp.machines import unending
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.gcp.network import how_to_set_up, regions_set_up, spot_in
from mlbroker.broker.clouds.gcp.roles import ACT_AS, GUEST, LAUNCHER, READ_BILL
from mlbroker.broker.clouds.gcp.setup import own_objects, own_things
from mlbroker.broker.clouds.gcp.shape import shape_of
from mlbroker.broker.clouds.interface import Denied, Intent
from mlbroker.broker.clouds.seats import SEATS
from mlbroker.broker.errors import MlbrokerError

PROBE_TYPE = "e2-standard-2"
# The quotas that runs meet first; a GPU's own is named only where there is one.
QUOTAS = ("CPUS", "PREEMPTIBLE_CPUS", "NVIDIA_T4_GPUS", "NVIDIA_L4_GPUS")
GLOBAL_QUOTAS = ("GPUS_ALL_REGIONS",)
_RESOURCES = "https://cloudresourcemanager.googleapis.com/"
_IAM = "https://iam.googleapis.com/"


def checks(regions: tuple[str, ...], now: datetime) -> Iterator[Check]:
    """Everything a run needs, in the order in which a run would need it."""
    calls = Calls()
    try:
        project = calls.project
        known = sorted(regions_set_up(calls))
    except MlbrokerError as error:
        yield Check("credentials", False, error.what, error.hint)
        return
    yield Check("credentials", True, f"project {project}")
    if not regions and not known:
        yield Check("set-up", False, "no region is set up", how_to_set_up("us-central1"))
        return
    yield tried("rights", partial(_rights, calls), how_to_set_up("REGION"))
    cloud = GcpCloud(calls)
    for region in regions or known:
        intent = probe("gcp", region, PROBE_TYPE, now)
        hint = how_to_set_up(region)
        yield tried(f"{region}: bucket", partial(bucket_works, cloud, intent), hint)
        yield tried(
            f"{region}: secrets", partial(secrets_work, cloud, intent, "Secret Manager"), hint
        )
        yield tried(f"{region}: network", partial(_network, calls, region), hint)
        yield tried(f"{region}: seats", partial(seats_free, cloud, region), hint)
        yield tried(f"{region}: machines' accounts", partial(_accounts, calls, region), hint)
        yield tried(f"{region}: image", partial(_image, calls, cloud, intent), hint)
        yield tried(f"{region}: machines", partial(_audit, calls, region, now), hint)
        yield from _quotas(calls, f"{region}: quota", "Regions", QUOTAS, region=region)
    yield from _quotas(calls, "quota", "Projects", GLOBAL_QUOTAS)


def policies(project: str | None, region: str) -> str:
    """The least rights of launcher and machines."""
    names = Names(project or "PROJECT", region)
    documents = {
        f"launcher (role {names.launcher_role}, in the project)": list(LAUNCHER),
        f"launcher (on {names.guest('00')} to {names.guest(SEATS[-1])})": [ACT_AS],
        "launcher (on the dataset of the billing export, for `ledger reconcile-bill`)": [READ_BILL],
        f"machines (role {names.guest_role})": list(GUEST),
        "machines of seat 00 (in the project, on condition)": own_things(names, "00"),
        f"machines of seat 00 (on the bucket {names.bucket}, on condition)": own_objects(
            names, "00"
        ),
    }
    return json.dumps(documents, indent=2)


def _rights(calls: Calls) -> str:
    """Google says which of the launcher's permissions the caller has."""
    granted = _granted(calls, "CLOUDRESOURCEMANAGER", _RESOURCES, "", LAUNCHER)
    missing = sorted(set(LAUNCHER) - granted)
    if missing:
        raise MlbrokerError(
            f"missing: {', '.join(missing)}",
            hint="`mlbroker doctor --cloud gcp --policies` prints the role that is needed.",
        )
    return f"all {len(LAUNCHER)} permissions of a launcher"


def _granted(
    calls: Calls, service: str, address: str, of: str, wanted: tuple[str, ...]
) -> set[str]:
    """Those of the wanted permissions, on the project or on what is in it, that the caller has."""
    base = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}") or address
    url = f"{base.rstrip('/')}/v1/projects/{calls.project}{of}:testIamPermissions"
    answer = calls.ask("POST", url, "rights", json={"permissions": list(wanted)})
    return set(answer.get("permissions", []))


def _network(calls: Calls, region: str) -> str:
    spot = spot_in(calls, Names(calls.project, region))
    how = "an address of their own" if spot.needs_address else "Cloud NAT"
    return f"lets nobody in; machines reach the internet through {how}"


def _accounts(calls: Calls, region: str) -> str:
    names = Names(calls.project, region)
    for email in map(names.guest, SEATS):
        try:
            granted = _granted(calls, "IAM", _IAM, f"/serviceAccounts/{email}", (ACT_AS,))
        except Denied as error:
            # Also where the region was set up by an mlbroker whose machines shared one account.
            raise MlbrokerError(
                f"{email}: {error.what}", hint=f"{how_to_set_up(region)} Apply it again."
            ) from None
        if not granted:
            raise MlbrokerError(
                f"{email} may not be handed to machines",
                hint="Take the role roles/iam.serviceAccountUser on this service account.",
            )
    return f"{names.guest(SEATS[0])} and {len(SEATS) - 1} more may be handed to machines"


def _image(calls: Calls, cloud: GcpCloud, intent: Intent) -> str:
    return shape_of(calls, cloud.first_zone(intent), intent).image.rpartition("/")[2]


def _audit(calls: Calls, region: str, now: datetime) -> str:
    """Every living machine has its end in it, and none has outlived it."""
    slack = timedelta(seconds=GcpCloud.traits.kill_slack_s)
    alive, bare, late = unending(calls, region, now - slack)
    hint = "`mlbroker reconcile` ends machines that no run accounts for."
    if bare:
        raise MlbrokerError(f"without a kill switch outside: {', '.join(bare)}", hint=hint)
    if late:
        raise MlbrokerError(f"alive although their end is due: {', '.join(late)}", hint=hint)
    return f"{alive} alive, each with its end in it"


def _quotas(
    calls: Calls, name: str, kind: str, metrics: tuple[str, ...], **of: str
) -> Iterator[Check]:
    try:
        with translated("gcp"):
            found = calls.client(kind).get(project=calls.project, **of, **calls.reading)
    except MlbrokerError as error:
        yield Check(name, None, error.what, error.hint)
        return
    for quota in found.quotas:
        metric, limit = str(quota.metric), quota.limit
        if metric in metrics:
            hint = f"Ask for more: IAM & Admin, Quotas & System Limits, {metric}."
            says = f"{metric}: {limit:g}, {quota.usage:g} in use"
            yield Check(name, limit > 0 or None, says, None if limit else hint)
