"""The fleets of a service as JSON: `replicas: fleets` of the plan's document."""

from decimal import Decimal
from typing import Any

from mlbroker.broker.words import exact_usd
from mlbroker.policies.service.demand import Chosen
from mlbroker.policies.service.fleet import Fleet, Option
from mlbroker.pricing.billing import HOURS_PER_MONTH

_CENT = Decimal("0.01")


def fleets_document(chosen: Chosen, budget_usd: Decimal | None) -> dict[str, Any]:
    """Each type by itself and the best, and what they were chosen for."""
    month = chosen.month
    return {
        "mean_rps": chosen.mean_rps,
        "peak_rps": chosen.peak_rps,
        "shape": "daily_wave" if chosen.assumed else "trace",
        "share": chosen.limits.share,
        "guess": chosen.guess,
        "singles": [
            {
                "instance_type": single.option.name,
                "fleet": _fleet(chosen, single.fleet, budget_usd),
                "replicas_that_would_do": single.would_do or None,
            }
            for single in chosen.choice.singles
        ],
        "best": _fleet(chosen, chosen.choice.best, budget_usd),
        "never_meet_it": list(chosen.hopeless),
        "not_sold": list(chosen.unsold),
        "month": None
        if month is None
        else {
            "usd": round(month.usd, 2),
            "low_usd": round(month.low_usd, 2),
            "high_usd": round(month.high_usd, 2),
            "days": month.days,
        },
    }


def _fleet(
    chosen: Chosen, fleet: Fleet | None, budget_usd: Decimal | None
) -> dict[str, Any] | None:
    if fleet is None:
        return None
    each = chosen.usd_per_request(fleet)
    tokens = next((option.tokens for option in _options(fleet) if option.tokens), None)
    return {
        "always": [{**_option(option), "replicas": number} for option, number in fleet.base],
        "follows": None
        if fleet.peak is None
        else {**_option(fleet.peak), "least": fleet.least, "most": fleet.most},
        "replicas_at_mean": fleet.at(chosen.mean_rps),
        "replicas_at_peak": fleet.at(chosen.peak_rps),
        "served": round(fleet.served, 6),
        "used": round(chosen.used(fleet), 6),
        "monthly_usd": exact_usd((fleet.usd_per_h * HOURS_PER_MONTH).quantize(_CENT)),
        "usd_per_1000_requests": each * 1000,
        "usd_per_million_tokens": None if tokens is None else each * 1e6 / tokens,
        "replicas_for_budget": None
        if budget_usd is None
        else fleet.for_budget(budget_usd / HOURS_PER_MONTH),
    }


def _options(fleet: Fleet) -> list[Option]:
    return [*(option for option, _ in fleet.base), *([fleet.peak] if fleet.peak else [])]


def _option(option: Option) -> dict[str, Any]:
    return {
        "instance_type": option.name,
        "cloud": option.cloud,
        "region": option.region,
        "market": str(option.market),
        "usd_per_h": exact_usd(option.usd_per_h),
        "rps": option.rps,
        "known": option.known,
    }
