"""One attempt: its token and intent, what goes along with its create, and clearing up after it.

Intent and token are rebuilt from ledger and order: they are the same in every process.
"""

from collections.abc import Callable, Mapping

from mlbroker.broker.clouds.interface import Cloud, Intent, Machine, Payload, Unclear
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Attempt, Run
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LOCAL, Order

CREATE_TRIES = 6


def token_of(run_id: str, attempt: int) -> str:
    """The same for the same attempt, whichever process asks."""
    return f"mlb-{run_id}-{attempt}"


def intent_of(run: Run, attempt: Attempt, order: Order) -> Intent:
    """What the cloud is asked with."""
    candidate = order.candidate(attempt)
    return Intent(
        token=attempt.token,
        run_id=run.run_id,
        attempt=attempt.number,
        job=run.job,
        cloud=attempt.cloud,
        region=attempt.region,
        zone=attempt.zone,
        instance_type=attempt.instance_type,
        market=attempt.market,
        nodes=attempt.nodes,
        price_per_hour_usd=attempt.price_per_hour_usd,
        intended_at=attempt.intended_at,
        kill_at=attempt.kill_at,
        disk_gb=candidate.disk_gb,
        image_id=candidate.image_id,
    )


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


def create(cloud: Cloud, intent: Intent, payload: Payload, clock: Clock) -> Machine:
    """The machine of this intent; an unclear answer is asked for again with the same token.

    After one, a no says nothing of the request before it, which may still be on its way.
    """
    for attempt in range(CREATE_TRIES):
        try:
            return cloud.create(intent, payload)
        except CloudError as error:
            error.made_nothing = error.made_nothing and attempt == 0
            if not isinstance(error, Unclear) or attempt == CREATE_TRIES - 1:
                raise
            clock.sleep(min(2.0**attempt, 8.0))
    raise AssertionError("unreachable")


def discard(cloud: Cloud, intent: Intent, warn: Callable[[str], None]) -> None:
    """Remove what the guest left. The books are closed: files that stay are no failed run."""
    try:
        cloud.discard(intent)
    except (CloudError, OSError) as error:
        warn(f"attempt {intent.attempt}: its files could not be removed: {error}")
