"""Our books against the vendors' own figures, on each loopback cloud."""

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from tests.support.azure.server import StrictAzure
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud
from tests.support.vendors import Vendor

from mlbroker.broker.app.ledger import bill, compare
from mlbroker.broker.clouds import role_of
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.runs.folder import RunFolder

NOVEMBER = date(2026, 11, 1)


@dataclass
class OfLedger:
    """As much of a run as a bill is compared with."""

    run_id: str
    spent_usd: Decimal
    job: str = "job"


def test_the_bill_is_read_page_by_page_and_told_run_by_run(
    world: StrictCloud, vendor: Vendor, run_id: str
) -> None:
    ours, late, dear = (OfLedger(f"{run_id}{name}", Decimal("0.25")) for name in "abc")
    world.bill.update({ours.run_id: "0.252", dear.run_id: "0.5", "elses": "3.0"})
    billed = role_of(vendor.name, "bill").billed(NOVEMBER)
    found = {row["run_id"]: row for row in compare([ours, late, dear], billed)}  # type: ignore[list-item]
    assert {key: row["finding"] for key, row in found.items()} == {
        ours.run_id: "agrees",
        late.run_id: "not billed yet",
        dear.run_id: "billed more",
        "elses": "not in this ledger",
    }
    assert Decimal(found[dear.run_id]["difference_usd"]) == dear.spent_usd
    assert found[late.run_id]["billed_usd"] is None, "missing is not zero"
    assert world.denied == []


def test_the_bill_completes_the_report_of_a_proof(
    runs: CloudRuns, run_id: str, vendor: Vendor
) -> None:
    run = runs.launch(run_id)
    folder = RunFolder.of(runs.home, run_id).path
    report = folder / "proof.json"
    report.write_text(json.dumps({"cap_usd": str(run.cap_usd), "findings": []}))
    runs.world.bill[run_id] = "99"
    found = bill(runs.home, vendor.name, f"{run.reserved_at:%Y-%m}")
    assert found["proofs"] == [run_id]
    (finding,) = json.loads(report.read_text())["findings"]
    assert (finding["claim"], finding["ok"]) == ("the vendor bills no more than the cap", False)


@pytest.mark.parametrize("vendor", ["gcp"], indirect=True)
def test_an_answer_of_another_shape_is_an_error_in_one_line(runs: CloudRuns, run_id: str) -> None:
    runs.world.bill[run_id] = "a lot"
    with pytest.raises(CloudError, match="cannot be understood"):
        bill(runs.home, "gcp", None)


@pytest.mark.parametrize("vendor", ["azure"], indirect=True)
def test_another_currency_is_not_taken_for_dollars(
    world: StrictAzure, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bill[run_id] = "1.5"
    monkeypatch.setattr(world.bills, "currency", "EUR")
    with pytest.raises(CloudError, match="billed in EUR"):
        role_of("azure", "bill").billed(NOVEMBER)


@pytest.mark.parametrize("vendor", ["gcp"], indirect=True)
@pytest.mark.parametrize("given", ["", "x` UNION ALL SELECT 1,2 --", "dataset.table"])
def test_an_export_that_is_no_table_is_not_asked(
    world: StrictCloud, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("MLBROKER_GCP_BILLING_EXPORT", given)
    with pytest.raises(InputError, match=r"PROJECT\.DATASET\.TABLE"):
        role_of("gcp", "bill").billed(NOVEMBER)
    assert world.calls == []
