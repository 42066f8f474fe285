"""The intent of an attempt, rebuilt from ledger and order: the same in every process."""

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.ledger import Attempt, Run
from mlbroker.broker.runs.order import Order


def token_of(run_id: str, attempt: int) -> str:
    """The same for the same attempt, whichever process asks."""
    return f"mlb-{run_id}-{attempt}"


def intent_of(run: Run, attempt: Attempt, order: Order) -> Intent:
    """What the cloud is asked with."""
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
        disk_gb=order.disk_gb,
        image_id=order.image_id,
    )
