"""What a plan's quote becomes when it is to be launched: the very bill that was quoted."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

from tests.support.books import SmallBook
from tests.support.indexed import indexed
from tests.support.moments import NOW

from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.runs.launch_options import planned
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.pace import Pace
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.policies.quoting import make_quote
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Hardware, InstanceType, Market, Offer
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, ResourceOption, StatedTime
from mlbroker.profiles.prediction import Basis, Evidence, Prediction

EASTUS = Region("azure", "eastus")
KIND = InstanceType("azure", "Standard_D4s_v5", Hardware(4, 16, "x86_64"))
PRICE = Decimal("0.192")
JOB = Job("j", "true", resources=(ResourceOption(disk_gb=1000),))


def quote_of(up_s: float) -> Quote:
    """The quote of a run whose machine is up for so long, for certain."""
    constraints = Constraints(steps=1)
    prediction = Prediction(up_s - vendor("azure").setup_s, 0.0, Basis.MEASURED, "measured")
    offer = Offer("azure", "eastus", KIND.name, Market.ON_DEMAND, PRICE, date(2026, 11, 1), "list")
    pace = Pace(constraints, prediction, "azure", False)
    return make_quote(constraints, None, pace, offer, EASTUS, 1000)


def test_what_is_quoted_is_what_is_reserved_and_charged() -> None:
    """1,000 GB on Azure bill in begun hours: by the second, 0.45 USD would come to 0.57."""
    book = SmallBook([KIND], [EASTUS], {}, {})
    (option,) = planned(JOB, [quote_of(600)], book, {"azure"})
    worst = option.bill.worst_case(Decimal("0.45"), slack_s=60)
    assert worst is not None
    up_s = worst.lifetime_s + 60
    quoted = quote_of(float(up_s)).cost_usd.expected
    assert quoted <= option.bill.charge_usd(up_s) == worst.usd <= Decimal("0.45")
    assert quote_of(float(up_s) + 1).cost_usd.expected > Decimal("0.45")


def test_each_alternative_is_launched_with_its_own_disk_image_and_zone(tmp_path: Path) -> None:
    job = Job("j", "true", takes=StatedTime(3000, "m5.large"), resources=(
        ResourceOption(Requirements(gpu_model="T4", gpu_count=1.0), cloud="gcp", disk_gb=1000,
                       zone="us-central1-a", image_id="of-gcp"),
        ResourceOption(cloud="aws", instance_type="m5.large", disk_gb=50, image_id="of-aws"),
    ))  # fmt: skip
    book = open_book(indexed(tmp_path), today=NOW.date())
    plan = Planner(book, NOW).plan(PlanRequest(job, Evidence(job), top=0))
    options = planned(job, plan.quotes, book, {"aws", "gcp"})
    assert {(o.cloud, o.disk_gb, o.image_id, o.zone) for o in options} == {
        ("gcp", 1000, "of-gcp", "us-central1-a"),
        ("aws", 50, "of-aws", None),
    }
    for option, quote in zip(options, plan.quotes, strict=True):
        assert quote.duration_h is not None
        assert quote.cost_usd is not None
        up_s = Decimal(quote.duration_h.p90) * 3600
        if option.market == Market.ON_DEMAND:
            risen = option.bill.price_per_hour_usd * Decimal(1 + quote.price_width)
            most = replace(option.bill, price_per_hour_usd=risen).usd(up_s)
            assert abs(most - quote.cost_usd.p90) < Decimal("0.00001")
