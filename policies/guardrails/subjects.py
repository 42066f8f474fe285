"""The figures of the planner and of a quote, as a rule looks at them: one constructor for each.

What is to be launched becomes a subject in `broker.runs.admission`.
"""

from decimal import Decimal

from mlbroker.policies.guardrails.interface import UNKNOWN, Missing, Subject, Undecided
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import InstanceType, Market


def of_quote(quote: Quote, kind: InstanceType) -> Subject:
    """A quoted machine, which is of this type."""
    return Subject(
        cloud=quote.cloud,
        region=quote.region,
        instance_type=quote.instance_type,
        market=str(quote.market),
        nodes=quote.nodes,
        price_per_hour_usd=quote.price_per_hour_usd * quote.nodes,
        gpu=kind.hardware.gpu is not None,
        cost_usd=quote.cost_usd.expected,
        carbon_kg=UNKNOWN if quote.carbon_kgco2e is None else quote.carbon_kgco2e,
    )


def screened(
    kind: InstanceType,
    market: Market,
    nodes: int,
    usd_per_hour: float,
    *,
    region: str | Undecided,
    cost_usd: float | Undecided,
    carbon_kg: float | Undecided | None,
) -> Subject:
    """A machine as it is compared, in floating point, before any is quoted.

    `usd_per_hour` is of one machine, everything else of all `nodes`; unknown carbon is None. What
    is forbidden of a machine with no region yet, at the least price and cost, is so anywhere.
    """
    return Subject(
        cloud=kind.cloud,
        region=region,
        instance_type=kind.name,
        market=str(market),
        nodes=nodes,
        price_per_hour_usd=_money(usd_per_hour * nodes),
        gpu=kind.hardware.gpu is not None,
        cost_usd=cost_usd if isinstance(cost_usd, Missing) else _money(cost_usd),
        carbon_kg=UNKNOWN if carbon_kg is None else carbon_kg,
    )


def _money(amount: float) -> Decimal:
    return Decimal(f"{amount:.6f}")
