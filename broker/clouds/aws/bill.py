"""What AWS itself says the runs of a month cost, by the tag that every machine and disk carries."""

from datetime import date, timedelta
from decimal import Decimal

from mlbroker.broker.clouds.aws.calls import Calls, translated
from mlbroker.broker.clouds.interface import RUN_TAG

# Cost Explorer is one service for all regions, and charges so much for each request.
REGION = "us-east-1"
USD_PER_REQUEST = Decimal("0.01")


def billed(first: date) -> dict[str, Decimal]:
    """Run -> USD, for the month that begins on `first`."""
    client = Calls().client("ce", REGION)
    after = (first + timedelta(days=32)).replace(day=1)
    wanted = {
        "TimePeriod": {"Start": first.isoformat(), "End": after.isoformat()},
        "Granularity": "MONTHLY",
        "Metrics": ["UnblendedCost"],
        "GroupBy": [{"Type": "TAG", "Key": RUN_TAG}],
    }
    found: dict[str, Decimal] = {}
    while True:
        with translated("aws cost explorer"):
            page = client.get_cost_and_usage(**wanted)
        for period in page["ResultsByTime"]:
            for group in period["Groups"]:
                run_id = group["Keys"][0].partition("$")[2]
                amount = Decimal(group["Metrics"]["UnblendedCost"]["Amount"])
                if run_id:
                    found[run_id] = found.get(run_id, Decimal(0)) + amount
        if not page.get("NextPageToken"):
            return found
        wanted["NextPageToken"] = page["NextPageToken"]
