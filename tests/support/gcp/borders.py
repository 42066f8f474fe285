"""What a machine on Google Cloud could try with another run's things."""

from tests.support.borders import Ask, Borders, Neighbour, asks_of_files
from tests.support.gcp.catalog import PROJECT
from tests.support.strict import folder_in

from mlbroker.broker.clouds.seats import LEASES


def _own(of: Neighbour) -> dict[str, Ask]:
    inside = f"{_bucket(of)}/{folder_in(of.vm.user_data)}"
    name = f"mlb-{of.intent.region}-{of.seat.number}-{of.seat.name}"
    secret = f"/v1/projects/{PROJECT}/secrets/{name}"
    machine = f"/compute/v1/projects/{PROJECT}/zones/{of.vm.zone}/instances/{of.vm.name}"
    return {
        **asks_of_files(inside),
        "deletes its report": Ask("DELETE", f"{inside}/0/report.json"),
        "reads its secret": Ask("GET", f"{secret}/versions/latest:access"),
        "deletes its secret": Ask("DELETE", secret),
        "deletes its machine": Ask("DELETE", machine),
    }


def _nobodys(of: Neighbour) -> dict[str, Ask]:
    bucket, project = _bucket(of), f"/compute/v1/projects/{PROJECT}"
    leases = f"{bucket}/{LEASES}"
    folder = folder_in(of.vm.user_data)
    return {
        "lists its folder": Ask("GET", f"{bucket}?list-type=2&prefix={folder}"),
        "lists everything": Ask("GET", bucket),
        "reads the leases": Ask("GET", leases),
        "writes the leases": Ask("PUT", leases, b"{}"),
        "deletes the leases": Ask("DELETE", leases),
        "climbs out of its folder": Ask("GET", f"{bucket}/runs/{of.seat.number}"),
        "sees its machine": Ask("GET", f"{project}/zones/{of.vm.zone}/instances/{of.vm.name}"),
        "sees all machines": Ask("GET", f"{project}/aggregated/instances"),
        "makes a machine": Ask("POST", f"{project}/zones/{of.vm.zone}/instances", b"{}"),
        "makes a secret": Ask("POST", f"/v1/projects/{PROJECT}/secrets?secretId=mlb-x", b"{}"),
    }


def _bucket(of: Neighbour) -> str:
    return f"/mlbroker-{PROJECT}-{of.intent.region}"


BORDERS = Borders(
    own=_own,
    nobodys=_nobodys,
    far=("europe-west4", "europe-west4-a"),
    writes="storage.objects.create",
    sold_out=lambda option: str(option.zone),
)
