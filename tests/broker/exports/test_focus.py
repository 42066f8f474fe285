"""Charges as FOCUS 1.2: each rule of the format that a row of usage has to keep."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support import spot_ledgers
from tests.support.books_of_runs import BEGAN, attempt, run
from tests.support.cli import mlbroker
from tests.support.spot_ledgers import Try

from mlbroker.broker.exports.charges import charges
from mlbroker.broker.exports.focus import Row, focus_rows
from mlbroker.broker.ledger import Attempt, Run

# Of FOCUS 1.2: always there, and never null.
MANDATORY = (
    "BilledCost", "BillingAccountId", "BillingAccountType", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ServiceSubcategory",
)  # fmt: skip
# Of usage that is no correction these are not null either.
OF_USAGE = (
    "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "SkuId", "SkuPriceId",
)  # fmt: skip
# There, and null where there is nothing to tell.
MAY_BE_NULL = (
    "AvailabilityZone", "BillingAccountName", "ChargeClass", "ChargeDescription",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "InvoiceId", "RegionId", "RegionName",
    "ResourceId", "ResourceName", "ResourceType", "SkuMeter", "SkuPriceDetails", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip


def rows(*runs: Run) -> list[Row]:
    return focus_rows(charges(runs))


def row(one: Attempt, **of_run: str | None) -> Row:
    (found,) = rows(run(one, **of_run))
    return found


def moment(row: Row, name: str) -> datetime:
    return datetime.strptime(row[name] or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


VARIANTS = {
    "on demand": attempt(),
    "spot": attempt(market="spot"),
    "own node": attempt(cloud="ssh", region="on-prem", zone=None, account="", machine_id="box:t"),
    "several nodes": attempt(cloud="gcp", nodes=4),
    "unknown account": attempt(cloud="azure", account=""),
    "another cloud": attempt(cloud="moonbase"),
    "nobody tells its end": attempt(ended_at=None, at_most=True),
    "gone at once": attempt(ended_at=BEGAN),
    "never seen": attempt(machine_id=None, started_at=None),
    "free": attempt(charged_usd=Decimal(0)),
    "metered": attempt(energy={"kwh": 1.5e-7, "kgco2e": None}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_rule_for_a_row_of_usage(name: str) -> None:
    found = row(VARIANTS[name])
    extra = [column for column in found if column.startswith("x_")]
    assert sorted(set(found) - set(extra)) == sorted({*MANDATORY, *OF_USAGE, *MAY_BE_NULL})
    for column in (*MANDATORY, *OF_USAGE):
        assert found[column], column
    assert found["ChargeCategory"] == "Usage"
    assert found["ChargeFrequency"] == "Usage-Based"
    assert found["PricingCategory"] in ("Standard", "Dynamic")
    assert found["ServiceCategory"] == "Compute"
    assert found["ServiceSubcategory"] in ("Virtual Machines", "Other (Compute)")
    assert found["BillingCurrency"] == "USD"
    # Quantity times unit price is the cost, to the last digit.
    for unit, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
        product = Decimal(found[unit] or "") * Decimal(found["PricingQuantity"] or "")
        assert product == Decimal(found[cost] or "")
    # Names go with identifiers.
    assert (found["ResourceId"] is None) == (found["ResourceType"] is None)
    assert (found["ResourceId"] is None) == (found["ResourceName"] is None)
    assert (found["RegionId"] is None) == (found["RegionName"] is None)
    assert (found["SubAccountId"] is None) == (found["SubAccountType"] is None)
    assert moment(found, "ChargePeriodStart") < moment(found, "ChargePeriodEnd")
    start = moment(found, "ChargePeriodStart")
    assert moment(found, "BillingPeriodStart") <= start < moment(found, "BillingPeriodEnd")
    assert isinstance(json.loads(found["Tags"] or ""), dict)
    assert isinstance(json.loads(found["SkuPriceDetails"] or ""), dict)


def test_the_figures_of_a_row() -> None:
    found = row(attempt(market="spot", nodes=3, energy={"kwh": 0.4, "kgco2e": 0.01}))
    assert found["BilledCost"] == found["ListCost"] == found["EffectiveCost"] == "0.5"
    assert found["PricingCategory"] == "Dynamic"
    # Whole seconds around 22:59:59.25 to 00:59:59.25: 7,201 s of three machines.
    assert found["ChargePeriodStart"] == "2026-11-30T22:59:59Z"
    assert found["ChargePeriodEnd"] == "2026-12-01T01:00:00Z"
    assert found["ConsumedQuantity"] == "6.000833"
    assert found["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
    assert found["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"
    assert (found["ProviderName"], found["BillingAccountId"]) == ("AWS", "123456789012")
    assert found["ResourceId"] == "i-0abc"
    assert json.loads(found["Tags"] or "") == {
        "job": "bert",
        "project": "nlp",
        "run": "20261130-225900-bert-abcd",
        "user": "ada",
    }
    assert (found["x_EnergyKwh"], found["x_CarbonKgCo2e"]) == ("0.4", "0.01")
    assert (found["x_PricePerMachineHourUsd"], found["x_AtMost"]) == ("0.192", "false")


def test_small_and_large_figures_are_written_without_exponents() -> None:
    assert row(VARIANTS["metered"])["x_EnergyKwh"] == "0.00000015"
    assert row(attempt(charged_usd=Decimal("1E+3")))["BilledCost"] == "1000"


def test_december_ends_in_another_year() -> None:
    late = datetime(2026, 12, 31, 23, tzinfo=UTC)
    found = row(attempt(started_at=late, ended_at=late + timedelta(hours=3)))
    assert found["BillingPeriodEnd"] == "2027-01-01T00:00:00Z"


def test_own_nodes_are_a_provider_of_their_own() -> None:
    found = row(VARIANTS["own node"])
    assert found["ProviderName"] == found["InvoiceIssuerName"] == "Own machines"
    assert found["BillingAccountId"] == "own"
    assert (found["ResourceType"], found["ServiceSubcategory"]) == ("Machine", "Other (Compute)")


def test_no_project_is_no_tag() -> None:
    assert "project" not in json.loads(row(attempt(), project=None)["Tags"] or "")


def test_only_what_had_a_machine_or_a_charge_is_a_charge() -> None:
    nothing = attempt(machine_id=None, started_at=None, charged_usd=Decimal(0), why="no_capacity")
    open_ = attempt(number=2, ended_at=None, charged_usd=Decimal(0))
    assert rows(run(nothing, open_)) == []
    assert len(rows(run(nothing, attempt(number=2), attempt(number=3, why="reclaimed")))) == 2


def test_the_csv_of_a_ledger(tmp_path: Path) -> None:
    spot_ledgers.write(
        tmp_path,
        Try(0, "finished", 2),
        Try(3, "no_capacity"),
        Try(5, "reclaimed", 1),
        Try(800, "finished", 1),
        Try(801, "up"),
    )
    done = mlbroker("ledger", "export", "--format", "focus", home=tmp_path)
    assert done.returncode == 0, done.stderr
    read = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["ChargePeriodStart"] for row in read] == [
        "2026-11-01T12:00:00Z",
        "2026-11-01T17:00:00Z",
        "2026-12-04T20:00:00Z",
    ]
    assert all(row["ChargeClass"] == "" for row in read)
    month = mlbroker("ledger", "export", "--format", "focus", "--month", "2026-12", home=tmp_path)
    assert len(list(csv.DictReader(io.StringIO(month.stdout)))) == 1
    bad = mlbroker("ledger", "export", "--format", "focus", "--month", "december", home=tmp_path)
    assert bad.returncode == 2
    assert "--month" in bad.stderr
    facts = mlbroker("ledger", "export", "--format", "focus", "--facts", home=tmp_path)
    assert facts.returncode == 2
    assert "--facts" in facts.stderr
