"""What goes along with a create: the guest's instructions, files and secrets."""

from collections.abc import Mapping

from mlbroker.broker.clouds.seam import Intent, Payload
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.paths import RunFolder

LOCAL = "local"


def payload_for(
    order: Order, intent: Intent, folder: RunFolder, secrets: Mapping[str, str]
) -> Payload:
    """The order, made out for this attempt's machine."""
    here = intent.cloud == LOCAL
    spec = dict(order.spec) | {"facts": _facts(intent)}
    if not here:
        # A folder of this machine; elsewhere its bundle takes its place.
        spec["workdir"] = None
    return Payload(
        spec=spec,
        bundle=folder.bundle if not here and folder.bundle.exists() else None,
        restore=folder.checkpoint if folder.checkpoint.exists() else None,
        secrets=secrets,
    )


def _facts(intent: Intent) -> dict[str, str]:
    """What the job may know about its own run (documented in docs/runs.md)."""
    return {
        "MLBROKER_RUN_ID": intent.run_id,
        "MLBROKER_JOB": intent.job,
        "MLBROKER_ATTEMPT": str(intent.attempt),
        "MLBROKER_CLOUD": intent.cloud,
        "MLBROKER_INSTANCE_TYPE": intent.instance_type,
        "MLBROKER_KILL_AT": intent.kill_at.isoformat(),
    }
