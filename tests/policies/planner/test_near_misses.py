"""Where nothing is feasible: the limits that are said to do, do, and no smaller ones would."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.random_plans import books, jobs

from mlbroker.broker.plan_words import way_out
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.plan import LeftOut, Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Deadline, Job, ResourceOption, StatedTime, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

HERE = Region("aws", "a", "us")
SMALL = InstanceType("aws", "small", Hardware(2, 8, "x86_64"))
# One step of one hour, three minutes of set-up, sure to a few per cent.
HOUR = [
    Measurement("j", "small", 3600.0, steps=1, cloud="aws", instance_type="small", sigma_log=0.0)
]
JOB = Job("j", "true", work=Work(1))


def planned(
    book: SmallBook,
    job: Job,
    rows: list[Measurement] | None = None,
    filters: Filters | None = None,
) -> Plan:
    return Planner(book, NOW).plan(
        PlanRequest(job, Evidence(job, rows or []), filters or Filters())
    )


def book_of(usd: Mapping[Market, str], kind: InstanceType = SMALL, rate: float = 0.02) -> SmallBook:
    prices = {(0, 0, market): price for market, price in usd.items()}
    return SmallBook([kind], [HERE], prices, {(0, 0): rate})


def test_a_budget_that_spot_keeps_is_told_not_the_one_on_demand_needs() -> None:
    book = book_of({Market.ON_DEMAND: "1.00", Market.SPOT: "0.25"})
    miss = planned(book, replace(JOB, budget_usd=Decimal("0.01")), HOUR).near_miss
    assert miss is not None
    assert (miss.budget_with, miss.budget_market) == ("small", Market.SPOT)
    # A little more than an hour at a quarter of a dollar, and nothing near what on-demand needs.
    assert miss.budget_usd is not None
    assert Decimal("0.27") < miss.budget_usd < Decimal("0.60")
    enough = replace(JOB, budget_usd=miss.budget_usd)
    choice = planned(book, enough, HOUR).choice
    assert choice is not None
    assert choice.market is Market.SPOT


def test_interruptions_are_counted_in_what_spot_needs() -> None:
    calm = book_of({Market.SPOT: "0.25"}, rate=0.02)
    often = book_of({Market.SPOT: "0.25"}, rate=0.25)
    poor = replace(JOB, budget_usd=Decimal("0.01"), confidence=0.999)
    few, many = (planned(book, poor, HOUR).near_miss for book in (calm, often))
    assert few is not None
    assert many is not None
    assert few.budget_usd is not None
    assert many.budget_usd is not None
    assert few.budget_usd < many.budget_usd
    late = replace(JOB, deadline=Deadline(600.0), confidence=0.999)
    soon, later = (planned(book, late, HOUR).near_miss for book in (calm, often))
    assert soon is not None
    assert later is not None
    assert (soon.deadline_s or 0) < (later.deadline_s or 0)


def test_the_cheapest_region_by_the_hour_need_not_be_the_one_that_does() -> None:
    dear_disk = Region("aws", "b", "us", None, Decimal(3), Decimal(0))
    cheap_disk = Region("aws", "a", "us", None, Decimal(0), Decimal(0))
    prices = {(0, 0, Market.ON_DEMAND): "0.20", (0, 1, Market.ON_DEMAND): "0.19"}
    book = SmallBook([SMALL], [cheap_disk, dear_disk], prices, {})
    miss = planned(book, replace(JOB, budget_usd=Decimal("0.01")), HOUR).near_miss
    assert miss is not None
    assert miss.budget_usd is not None
    assert miss.budget_usd < Decimal("0.25"), "in b the disk alone costs 0.41 an hour"


def test_what_spot_needs_rounds_the_disk_up_as_the_bill_does() -> None:
    """A run of 1.07 h with 1,000 GB: two hours of disk are paid, and not three."""
    eastus = Region("azure", "eastus", "us", None, Decimal("0.073"), Decimal(0))
    kind = InstanceType("azure", "small", SMALL.hardware)
    book = SmallBook([kind], [eastus], {(0, 0, Market.SPOT): "0.25"}, {(0, 0): 0.02})
    hour = [replace(HOUR[0], cloud="azure")]
    job = replace(JOB, resources=(ResourceOption(disk_gb=1000),))
    free = planned(book, job, hour).choice
    assert free is not None
    assert free.duration_h is not None
    assert free.cost_usd is not None
    miss = planned(book, replace(job, budget_usd=Decimal("0.01")), hour).near_miss
    assert miss is not None
    assert miss.budget_usd is not None
    # The price may rise by a quarter, and the budget has to hold even then.
    risen_usd = Decimal("0.25") / 4 * Decimal(free.duration_h.p90)
    assert abs(miss.budget_usd - free.cost_usd.p90 - risen_usd) < Decimal("0.001")
    assert planned(book, replace(job, budget_usd=miss.budget_usd), hour).choice == free
    less = replace(job, budget_usd=miss.budget_usd * Decimal("0.99"))
    assert planned(book, less, hour).choice is None


def test_a_retired_type_that_would_do_is_named() -> None:
    v100 = Gpu("V100-16GB", 16, 15.7, 125.0, 900.0, 300.0)
    retired = InstanceType("aws", "p1.2xlarge", Hardware(8, 61, "x86_64", gpu=v100, gpu_count=1),
                           retired=True)  # fmt: skip
    plain = InstanceType("aws", "a1.2xlarge", Hardware(8, 16, "arm64"))
    prices = {(n, 0, Market.ON_DEMAND): "3.06" for n in range(2)}
    book = SmallBook([plain, retired], [HERE], prices, {})
    wanted = (ResourceOption(Requirements(gpu_model="V100-16GB")),)
    job = replace(JOB, resources=wanted, takes=StatedTime(60, "p1.2xlarge"))
    plan = planned(book, job)
    assert plan.choice is None
    assert plan.near_miss is not None
    assert plan.near_miss.left_out == (LeftOut("aws", "p1.2xlarge", Reason.RETIRED, True),)
    assert way_out(plan) == "p1.2xlarge is retired: name it to use it"
    named = planned(book, job, filters=Filters(instance_types=("p1.2xlarge",)))
    assert named.choice is not None
    poor = planned(book, replace(job, budget_usd=Decimal("0.01")))
    assert poor.near_miss is not None
    assert poor.near_miss.left_out == (LeftOut("aws", "p1.2xlarge", Reason.RETIRED, False),)
    assert way_out(poor) == "p1.2xlarge is retired: name it to use it, with more time or money"


def test_a_market_without_a_price_is_not_what_a_job_without_a_machine_is_told() -> None:
    burstable = InstanceType("azure", "Standard_B2ms", Hardware(2, 8, "x86_64", burstable=True))
    book = SmallBook([burstable], [Region("azure", "a")], {(0, 0, Market.ON_DEMAND): "0.08"}, {})
    assert "run out of credits" in (way_out(planned(book, replace(JOB, work=Work(40_000)))) or "")


def test_what_the_flags_left_out_is_named_where_it_would_do() -> None:
    other = InstanceType("gcp", "big", Hardware(32, 128, "x86_64"))
    prices = {(0, 0, Market.ON_DEMAND): "0.10", (1, 1, Market.ON_DEMAND): "0.10"}
    book = SmallBook([SMALL, other], [HERE, Region("gcp", "g", "us")], prices, {})
    said = StatedTime(4000, "big")
    job = replace(JOB, takes=said, deadline=Deadline(7200.0), confidence=0.5)
    assert planned(book, job).choice is not None
    aws = planned(book, job, filters=Filters(clouds=("aws",)))
    assert aws.near_miss is not None
    assert aws.near_miss.left_out == (LeftOut("gcp", "big", Reason.EXCLUDED_BY_FLAG, True),)
    assert "without the flags big on gcp would do" in (way_out(aws) or "")


@settings(max_examples=80)
@given(books, jobs)
def test_what_is_said_to_do_does_and_less_does_not(book: SmallBook, job: Job) -> None:
    plan = planned(book, job)
    miss = plan.near_miss
    if miss is None:
        return
    both = miss.together
    if miss.deadline_s is not None:
        enough = replace(job, deadline=Deadline(miss.deadline_s))
        enough = replace(enough, budget_usd=miss.budget_usd) if both else enough
        assert planned(book, enough).choice is not None
        if not both:
            less = replace(job, deadline=Deadline(0.99 * miss.deadline_s))
            assert planned(book, less).choice is None
    if miss.budget_usd is not None and not both:
        assert planned(book, replace(job, budget_usd=miss.budget_usd)).choice is not None
        less = replace(job, budget_usd=miss.budget_usd * Decimal("0.99"))
        assert planned(book, less).choice is None
