"""Runs as the ledger folds them, without a ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from mlbroker.broker.ledger import Attempt, Run, State

BEGAN = datetime(2026, 11, 30, 22, 59, 59, 250_000, tzinfo=UTC)


def attempt(**given: Any) -> Attempt:
    """Two hours on one machine of AWS, charged 0.5 USD."""
    usual = Attempt(
        number=1,
        token="t",
        cloud="aws",
        region="us-east-1",
        zone="us-east-1a",
        instance_type="m5.xlarge",
        market="on_demand",
        nodes=1,
        price_per_hour_usd=Decimal("0.192"),
        intended_at=BEGAN - timedelta(seconds=9),
        kill_at=BEGAN + timedelta(hours=4),
        worst_usd=Decimal(1),
        account="123456789012",
        machine_id="i-0abc",
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(hours=2),
        why="finished",
        charged_usd=Decimal("0.50"),
    )
    return replace(usual, **given)


def run(*attempts: Attempt, **given: Any) -> Run:
    """A settled run of these attempts."""
    usual = Run(
        run_id="20261130-225900-bert-abcd",
        job="bert",
        user="ada",
        project="nlp",
        state=State.SETTLED,
        cap_usd=Decimal(5),
        reserved_usd=Decimal(0),
        reserved_at=BEGAN - timedelta(seconds=20),
        details={"candidate": {"cloud": "aws"}},
        attempts=attempts,
    )
    return replace(usual, **given)
