"""Plans on the whole embedded book, checked against what a reader can work out from its prices."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.support.indexed import indexed
from tests.support.moments import NOW

from mlbroker.broker.prices.price_book import PriceBook, open_book
from mlbroker.policies.candidates import Filters
from mlbroker.policies.objective import quote_key
from mlbroker.policies.planner.plan import PROBE_OFFERS, Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    DataLocation,
    Deadline,
    Job,
    Objective,
    ObjectiveKind,
    ResourceOption,
    StatedTime,
    Work,
)
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence

JOB = Job(
    "train",
    "python train.py",
    work=Work(12_000),
    takes=StatedTime(3000, "m5.xlarge"),
    deadline=Deadline(6 * 3600.0),
    checkpoint=Checkpoint("ckpt/", 600),
)
EVERYTHING = Filters()
ON_DEMAND = Filters(markets=(Market.ON_DEMAND,))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    return open_book(indexed(tmp_path_factory.mktemp("home")), today=NOW.date())


def measured(name: str, step_s: float, **facts: object) -> Measurement:
    facts = {"cloud": "aws", "steps": 12_000} | facts
    return Measurement("train", name, step_s, instance_type=name, **facts)  # type: ignore[arg-type]


def plan_of(
    book: PriceBook,
    job: Job = JOB,
    rows: tuple[Measurement, ...] = (),
    filters: Filters = EVERYTHING,
    top: int = 10,
) -> Plan:
    request = PlanRequest(job, Evidence(job, rows), filters, top=top, explain=True)
    return Planner(book, NOW).plan(request)


def test_every_type_and_market_is_quoted_or_rejected_once(book: PriceBook) -> None:
    plan = plan_of(book, top=0)
    quoted = {(q.cloud, q.instance_type, q.market) for q in plan.quotes}
    rejected = {(r.cloud, r.instance_type, r.market) for r in plan.rejected}
    everything = {(kind.cloud, kind.name, m) for _, _, kind in book.types() for m in Market}
    assert len(plan.quotes) == len(quoted) == plan.feasible
    assert len(plan.rejected) == len(rejected) == sum(plan.rejections.values())
    assert quoted | rejected == everything
    assert not quoted & rejected


def test_quotes_come_best_first_and_keep_the_promises(book: PriceBook) -> None:
    plan = plan_of(book, replace(JOB, budget_usd=Decimal(3)), top=0)
    keys = [quote_key(plan.constraints.objective, quote) for quote in plan.quotes]
    assert keys == sorted(keys)
    assert plan.choice == plan.quotes[0]
    for quote in plan.quotes:
        assert quote.deadline_probability is not None
        assert quote.deadline_probability >= 0.9 - 1e-9
        # An old price may have risen; what is paid for it keeps the budget all the same.
        assert float(quote.cost_usd.p90) <= 3.001 * (1 + quote.price_width)


def test_top_changes_how_many_are_shown_and_nothing_else(book: PriceBook) -> None:
    few, all_of_them = plan_of(book, top=3), plan_of(book, top=0)
    assert few.quotes == all_of_them.quotes[:3]
    assert few.rejections == all_of_them.rejections
    assert few.feasible == all_of_them.feasible


def test_where_to_measure_is_asked_of_the_same_machines_whatever_is_shown(book: PriceBook) -> None:
    rows = (measured("c5.2xlarge", 0.6), measured("m5.large", 2.5))
    asked = PlanRequest(JOB, Evidence(JOB, rows), advise=True)
    plans = [Planner(book, NOW).plan(asked._replace(top=top)) for top in (1, 10, 0)]
    assert [len(plan.quotes) for plan in plans[:2]] == [1, 10]
    assert plans[0].probe_offers == plans[1].probe_offers == plans[2].probe_offers
    assert len(plans[0].probe_offers) == PROBE_OFFERS
    best = plans[0].choice
    assert best is not None
    assert plans[0].probe_offers[0].target.instance_type == best.instance_type


def test_a_measured_machine_is_priced_by_the_book(book: PriceBook) -> None:
    only = Filters(regions=("us-east-1",), instance_types=("m5.large",), markets=ON_DEMAND.markets)
    plan = plan_of(book, rows=(measured("m5.large", 0.9),), filters=only)
    quote = plan.choice
    assert quote is not None
    assert quote.basis is Basis.MEASURED
    assert quote.price_per_hour_usd == Decimal("0.096")
    assert quote.step_time_s.p50 == pytest.approx(0.9)
    assert quote.duration_h.p50 == pytest.approx((12_000 * 0.9 + 160) / 3600, rel=1e-3)
    hours = Decimal(str(quote.duration_h.p50))
    assert quote.cost_usd.compute == pytest.approx(Decimal("0.096") * hours, rel=Decimal("0.01"))


def test_of_measured_machines_the_cheapest_in_time_wins(book: PriceBook) -> None:
    rows = (measured("m5.large", 2.5), measured("c5.2xlarge", 0.6), measured("c5.9xlarge", 0.4))
    filters = Filters(
        regions=("us-east-1",),
        instance_types=("m5.large", "c5.2xlarge", "c5.9xlarge"),
        markets=ON_DEMAND.markets,
    )
    in_time = plan_of(book, rows=rows, filters=filters)
    assert in_time.choice is not None
    assert in_time.choice.instance_type == "c5.2xlarge"  # m5.large needs 8.4 h
    assert in_time.rejections == {
        Reason.TOO_SLOW: 1,
        Reason.EXCLUDED_BY_FLAG: in_time.rejections[Reason.EXCLUDED_BY_FLAG],
    }
    hurried = plan_of(
        book, replace(JOB, objective=Objective(ObjectiveKind.TIME)), rows, filters=filters
    )
    assert hurried.choice is not None
    assert hurried.choice.instance_type == "c5.9xlarge"


def test_the_data_s_region_saves_its_traffic(book: PriceBook) -> None:
    here = replace(JOB, data=Data(Decimal(2000), Decimal(1), DataLocation("aws", "eu-west-1")))
    plan = plan_of(book, here, (measured("c5.2xlarge", 0.6),))
    assert plan.choice is not None
    assert (plan.choice.cloud, plan.choice.region) == ("aws", "eu-west-1")
    assert plan.choice.cost_usd.network == 0
    elsewhere = plan_of(book, here, (measured("c5.2xlarge", 0.6),), Filters(regions=("us-east-1",)))
    assert elsewhere.choice is not None
    assert elsewhere.choice.cost_usd.network >= Decimal(40)
    somewhere = replace(here, data=here.data._replace(at=DataLocation("aws")))
    some = Filters(instance_types=("c5.2xlarge", "m5.2xlarge", "n2-standard-8", "Standard_D8s_v5"))
    dearer = plan_of(book, somewhere, (measured("c5.2xlarge", 0.6),), some, top=0)
    assert len({quote.instance_type for quote in dearer.quotes}) == 4
    assert all(
        quote.cost_usd is not None and quote.cost_usd.network >= Decimal(40)
        for quote in dearer.quotes
    ), "in no region is it said to be free where the data's is not known"


def test_alternatives_of_the_job_file_are_all_in_the_running(book: PriceBook) -> None:
    job = replace(
        JOB,
        resources=(
            ResourceOption(Requirements(gpu_model="T4", gpu_count=1), cloud="aws"),
            ResourceOption(Requirements(vcpus=Amount(8)), cloud="gcp", market=Market.SPOT),
        ),
    )
    plan = plan_of(book, job, top=0)
    for quote in plan.quotes:
        assert quote.cloud == "aws" or quote.market is Market.SPOT
    assert {quote.cloud for quote in plan.quotes} == {"aws", "gcp"}


def test_highest_hourly_price_of_an_option(book: PriceBook) -> None:
    option = ResourceOption(Requirements(gpu_model="T4"), max_price_per_hour_usd=Decimal("1.00"))
    plan = plan_of(book, replace(JOB, deadline=None, resources=(option,)), top=0)
    assert plan.quotes
    assert all(quote.price_per_hour_usd <= 1 for quote in plan.quotes)
    assert plan.rejections[Reason.ABOVE_PRICE_CEILING] > 0


def test_what_a_job_was_seen_to_need_rules_machines_out(book: PriceBook) -> None:
    plan = plan_of(book, rows=(measured("r5.2xlarge", 0.5, peak_memory_gib=40.0),), top=0)
    assert plan.rejections[Reason.TOO_LITTLE_MEMORY] > 100
    memory = {kind.name: kind.hardware.memory_gib for _, _, kind in book.types()}
    assert min(memory[quote.instance_type] for quote in plan.quotes) >= 40


def test_a_type_on_which_the_job_failed_is_out(book: PriceBook) -> None:
    failed = measured("c5.2xlarge", 3.0, status=Status.FAILED, reason="illegal instruction")
    plan = plan_of(book, rows=(failed, measured("m5.2xlarge", 0.5)))
    out = [r for r in plan.rejected if r.instance_type == "c5.2xlarge"]
    assert {r.reason for r in out} == {Reason.PROBE_FAILED}
    assert "illegal instruction" in out[0].detail


def test_accelerators_that_need_their_own_build_are_not_offered_unasked(book: PriceBook) -> None:
    plan = plan_of(book, replace(JOB, deadline=None), top=0)
    models = {
        kind.hardware.gpu.model
        for _, _, kind in book.types()
        if kind.hardware.gpu and kind.name in {quote.instance_type for quote in plan.quotes}
    }
    assert "Inferentia2" not in models
    assert "T4" in models  # a GPU machine satisfies a job that asks for none
    wanted = ResourceOption(Requirements(gpu_model="Inferentia2"))
    plain, own = wanted, wanted._replace(image_id="ami-1")
    out = {r.reason for r in plan_of(book, replace(JOB, resources=(plain,))).rejected}
    assert Reason.NOT_LAUNCHABLE in out, "no image of AWS's that a run starts with has its driver"
    assert plan_of(book, replace(JOB, resources=(own,))).choice is not None


def test_retired_types_only_by_name(book: PriceBook) -> None:
    name = next(kind.name for _, _, kind in book.types() if kind.retired and kind.cloud == "aws")
    usual, named = plan_of(book, top=0), plan_of(book, filters=Filters(instance_types=(name,)))
    assert name not in {quote.instance_type for quote in usual.quotes}
    assert "retired" not in " ".join(r.detail for r in named.rejected if r.instance_type == name)


def test_nothing_feasible_says_what_would_do(book: PriceBook) -> None:
    rows = (measured("c5.2xlarge", 0.6),)
    filters = Filters(instance_types=("c5.2xlarge",))
    plan = plan_of(book, replace(JOB, deadline=Deadline(600.0)), rows, filters)
    assert plan.choice is None
    assert plan.near_miss is not None
    assert plan.near_miss.deadline_s is not None
    enough = replace(JOB, deadline=Deadline(plan.near_miss.deadline_s + 1))
    assert plan_of(book, enough, rows, filters).choice is not None

    poor = plan_of(book, replace(JOB, budget_usd=Decimal("0.01")), rows, filters)
    assert poor.near_miss is not None
    assert poor.near_miss.budget_usd is not None
    richer = replace(JOB, budget_usd=poor.near_miss.budget_usd * Decimal("1.01"))
    assert plan_of(book, richer, rows, filters).choice is not None


def test_the_baseline_is_the_pin_or_the_usual_type(book: PriceBook) -> None:
    usual = plan_of(book).baseline
    assert usual is not None
    assert (usual.instance_type, usual.region) == ("m5.2xlarge", "us-east-1")
    pin = ResourceOption(cloud="gcp", region="europe-west4", instance_type="n2-standard-16")
    pinned = plan_of(book, replace(JOB, resources=(pin,)))
    assert pinned.baseline is not None
    assert pinned.baseline.region == "europe-west4"
    assert pinned.savings_usd is not None
    gpu = ResourceOption(Requirements(gpu_model="A100-40GB", gpu_count=1))
    assert (plan_of(book, replace(JOB, resources=(gpu,))).baseline or usual).cloud == "gcp"


def test_a_type_with_the_accelerators_beside_it_is_pinned(book: PriceBook) -> None:
    """As SkyPilot names Google's N1 machines; without accelerators it is the plain one."""
    t4 = Requirements(gpu_model="T4", gpu_count=1.0)
    sold_as = "n1-standard-4+nvidia-tesla-t4:1"
    for name, needs, chosen in (
        ("n1-standard-4", t4, sold_as),
        (sold_as, Requirements(), sold_as),
        ("n1-standard-4", Requirements(), "n1-standard-4"),
    ):
        job = replace(JOB, resources=(ResourceOption(needs, instance_type=name),))
        plan = plan_of(book, job)
        assert {quote.instance_type for quote in plan.quotes} == {chosen}
        assert (plan.baseline or plan.choice).instance_type == chosen


def test_carbon_is_a_choice_of_place(book: PriceBook) -> None:
    rows = (measured("c5.2xlarge", 0.6),)
    only = Filters(instance_types=("c5.2xlarge",))
    cheap = plan_of(book, rows=rows, filters=only)
    green = plan_of(book, replace(JOB, objective=Objective(ObjectiveKind.CARBON)), rows, only)
    assert cheap.choice is not None
    assert green.choice is not None
    assert (green.choice.carbon_kgco2e or 9) < (cheap.choice.carbon_kgco2e or 0)
    assert green.choice.cost_usd.expected >= cheap.choice.cost_usd.expected


def test_a_deadline_in_the_past_is_a_plan_without_a_choice(book: PriceBook) -> None:
    past = plan_of(book, replace(JOB, deadline=Deadline(at=NOW.replace(year=2020))))
    assert past.constraints.deadline_has_passed
    assert past.choice is None
    assert not past.quotes
    assert past.near_miss is None
