"""Charges as a FOCUS dataset: the FinOps Foundation's open format of cost and usage, version 1.2.

Columns and rules: focus.finops.org/focus-specification/v1-2. What is put where the format wants a
value and mlbroker knows none is said in docs/exports.md.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.exports.charges import Charge, utc_text
from mlbroker.broker.words import exact_usd
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor

Row = dict[str, str | None]
UNKNOWN_ACCOUNT = "unknown"
_QUANTITY = Decimal("0.000001")


class _Issuer(NamedTuple):
    """Whose machines they are: its name in bills, its service, what it calls an account, and what
    FOCUS calls its machines.
    """

    name: str
    service: str
    account: str
    resource: str = "Virtual machine"
    subcategory: str = "Virtual Machines"


_ISSUERS = {
    "aws": _Issuer("AWS", "Amazon Elastic Compute Cloud", "AWS account"),
    "gcp": _Issuer("Google Cloud", "Compute Engine", "Google Cloud project"),
    "azure": _Issuer("Microsoft", "Virtual Machines", "Azure subscription"),
}
_OWN = _Issuer("Own machines", "Own machines", "Own machines", "Machine", "Other (Compute)")


def focus_rows(charges: Iterable[Charge]) -> list[Row]:
    """One row a charge; None is null. The columns are the same in each, in FOCUS's order."""
    return [_row(charge) for charge in charges]


def _row(charge: Charge) -> Row:
    run, attempt = charge.run, charge.attempt
    issuer = _issuer(attempt.cloud)
    usd, spot = exact_usd(charge.usd), attempt.market == Market.SPOT
    sku = f"{attempt.cloud}/{attempt.instance_type}/{attempt.market}"
    hours = f"{charge.hours.quantize(_QUANTITY):f}"
    month = charge.start.replace(day=1, hour=0, minute=0, second=0)
    account = attempt.account or (UNKNOWN_ACCOUNT if issuer is not _OWN else "own")
    energy = attempt.energy or {}
    return {
        "AvailabilityZone": attempt.zone,
        "BilledCost": usd,
        "BillingAccountId": account,
        "BillingAccountName": None,
        "BillingAccountType": issuer.account,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": utc_text(_next_month(month)),
        "BillingPeriodStart": utc_text(month),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": _description(charge),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": utc_text(charge.end),
        "ChargePeriodStart": utc_text(charge.start),
        "CommitmentDiscountCategory": None,
        "CommitmentDiscountId": None,
        "CommitmentDiscountName": None,
        "CommitmentDiscountStatus": None,
        "CommitmentDiscountType": None,
        "ConsumedQuantity": hours,
        "ConsumedUnit": "Hours",
        "ContractedCost": usd,
        "ContractedUnitPrice": usd,
        "EffectiveCost": usd,
        "InvoiceId": None,
        "InvoiceIssuerName": issuer.name,
        "ListCost": usd,
        "ListUnitPrice": usd,
        "PricingCategory": "Dynamic" if spot else "Standard",
        "PricingQuantity": "1.0",
        "PricingUnit": "Attempts",
        "ProviderName": issuer.name,
        "PublisherName": issuer.name,
        "RegionId": attempt.region,
        "RegionName": attempt.region,
        "ResourceId": attempt.machine_id,
        "ResourceName": run.run_id if attempt.machine_id else None,
        "ResourceType": issuer.resource if attempt.machine_id else None,
        "ServiceCategory": "Compute",
        "ServiceName": issuer.service,
        "ServiceSubcategory": issuer.subcategory,
        "SkuId": sku,
        "SkuMeter": "Machine hours",
        "SkuPriceDetails": json.dumps({"InstanceType": attempt.instance_type}),
        "SkuPriceId": f"{sku}/{attempt.region}",
        "SubAccountId": None,
        "SubAccountName": None,
        "SubAccountType": None,
        "Tags": _tags(charge),
        "x_AtMost": str(attempt.at_most).lower(),
        "x_Attempt": str(attempt.number),
        "x_CarbonKgCo2e": _figure(energy.get("kgco2e")),
        "x_EnergyKwh": _figure(energy.get("kwh")),
        "x_EndedFor": attempt.why,
        "x_PricePerMachineHourUsd": exact_usd(attempt.price_per_hour_usd),
    }


def _issuer(cloud: str) -> _Issuer:
    if vendor(cloud).own:
        return _OWN
    return _ISSUERS.get(cloud, _Issuer(cloud, cloud, "Account"))


def _description(charge: Charge) -> str:
    attempt = charge.attempt
    nodes = "" if attempt.nodes == 1 else f"{attempt.nodes} x "
    at_most = ", at most" if attempt.at_most else ""
    return (
        f"{nodes}{attempt.instance_type} ({attempt.market.replace('_', '-')}) for attempt"
        f" {attempt.number} of run {charge.run.run_id}: machines, disks, addresses, requests and"
        f" traffic as mlbroker reckons them{at_most}"
    )


def _tags(charge: Charge) -> str:
    run = charge.run
    named = {"job": run.job, "project": run.project, "run": run.run_id, "user": run.user}
    return json.dumps({name: value for name, value in named.items() if value is not None})


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{Decimal(repr(value)):f}"


def _next_month(month: datetime) -> datetime:
    years, index = divmod(month.month, 12)
    return month.replace(year=month.year + years, month=index + 1)
