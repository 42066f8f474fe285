"""What may be left of an attempt on Google Cloud (disk, secrets, files, seat), and who ended it.

A network interface, and an address that was not reserved, are parts of their instance.
"""

from collections.abc import Sequence

from mlbroker.broker.clouds.gcp.calls import Calls, secrets_url, translated
from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.gcp.machines import first_end
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.interface import TOKEN_TAG, Denied, Intent
from mlbroker.broker.clouds.leftovers import Ender, Looks, common
from mlbroker.broker.clouds.rented import id_parts
from mlbroker.broker.clouds.seats import SEATS

# How Google names itself: in operations, and in the audit log.
_GOOGLE = ("", "system", "system@google.com")


def remains(intent: Intent, machine_id: str, secrets_at: str | None) -> Looks:
    """`secrets_at` is where they were; whoever launches may remove them, and not look."""
    calls = Calls()
    cloud = GcpCloud(calls)

    def disk() -> Sequence[str]:
        with translated("gcp"):
            from google.cloud import compute_v1

            request = compute_v1.AggregatedListDisksRequest(
                project=calls.project, filter=f'labels.{TOKEN_TAG} = "{intent.token}"'
            )
            pages = calls.client("Disks").aggregated_list(request, **calls.reading)
            return [str(one.name) for _, scope in pages for one in scope.disks]

    def secrets() -> list[str]:
        try:
            calls.ask("DELETE", f"{secrets_url()}{secrets_at}", "Secret Manager")
        except Denied as error:
            if "not found" not in error.what:
                raise
            return []
        return ["secret"]

    found = {**common(cloud, intent, (intent.token,)), "disk": disk}
    return {**found, "secrets": secrets} if secrets_at else found


def ended_by(intent: Intent, machine_id: str) -> Ender | None:
    """Every operation names who asked for it; the machine itself would be its seat's account."""
    calls = Calls()
    zone, (name, *_) = id_parts(machine_id)
    end = first_end(calls, zone, name)
    if end is None:
        return None
    if str(end.user) in _GOOGLE:
        return Ender(True, f"its operation {end.operation_type} was asked for by nobody but Google")
    if str(end.user) in map(Names(calls.project, intent.region).guest, SEATS):
        return Ender(False, "its own account asked for it")
    return Ender(None, f"its operation {end.operation_type} names an account that is not its own")
