"""Our books against Cost Explorer's figures."""

from datetime import date
from decimal import Decimal

from tests.support.aws.runs import AwsRuns

from mlbroker.broker.app.ledger import compare
from mlbroker.broker.clouds.aws.bill import billed


def test_the_bill_is_read_page_by_page_and_told_run_by_run(runs: AwsRuns, run_id: str) -> None:
    ours = runs.launch(run_id)
    late = runs.launch(f"{run_id}-late")
    dear = runs.launch(f"{run_id}-dear")
    runs.world.bill.update(
        {
            ours.run_id: f"{ours.spent_usd * Decimal('1.01'):f}",
            dear.run_id: f"{dear.spent_usd * 2:f}",
            "somebody-elses": "3.00",
        }
    )
    found = {row["run_id"]: row for row in compare([ours, late, dear], billed(date(2026, 11, 1)))}
    assert {key: row["finding"] for key, row in found.items()} == {
        ours.run_id: "agrees",
        late.run_id: "not billed yet",
        dear.run_id: "billed more",
        "somebody-elses": "not in this ledger",
    }
    assert Decimal(found[dear.run_id]["difference_usd"]) == dear.spent_usd
    assert found[late.run_id]["billed_usd"] is None, "missing is not zero"
