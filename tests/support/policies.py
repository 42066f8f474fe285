"""Policies as users write them, and machines for rules to look at."""

from decimal import Decimal

from mlbroker.broker.files.policy_file import parse_policy
from mlbroker.policies.guardrails.interface import Subject, Who
from mlbroker.policies.guardrails.judge import Judge

ADA = Who("ada", "search")
CPU = Subject(
    cloud="aws",
    region="eu-west-1",
    instance_type="m7g.large",
    market="spot",
    nodes=1,
    price_per_hour_usd=Decimal("0.1"),
    gpu=False,
    cost_usd=Decimal(3),
    carbon_kg=0.5,
)


def judge_by(text: str, who: Who = ADA, reason: str | None = None) -> Judge:
    """The judge by a policy file of this text."""
    return Judge(parse_policy(text, "p.yaml"), who, reason)
