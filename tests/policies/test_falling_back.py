"""Spot that may fall back on demand: who may, and what the plan says of it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by

from mlbroker.policies.candidates import Filters
from mlbroker.policies.guardrails.judge import Judge
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.policies.spot.beliefs import Observation, Place, What
from mlbroker.policies.spot.rates import OwnRuns
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    Deadline,
    Job,
    Objective,
    ObjectiveKind,
    ResourceOption,
    SpotPolicy,
    Work,
)
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

KINDS = [
    InstanceType("aws", "one", Hardware(8, 32, "x86_64")),
    InstanceType("aws", "other", Hardware(8, 32, "x86_64")),
]
REGION = Region("aws", "a", "us", None, Decimal("0.08"), Decimal("0.005"), Decimal("0.09"),
                Decimal("0.02"), Decimal("0.05"), 0.4, "x", 1.1)  # fmt: skip
BOOK = SmallBook(
    KINDS,
    [REGION],
    {
        (0, 0, Market.ON_DEMAND): "1.00",
        (0, 0, Market.SPOT): "0.30",
        (1, 0, Market.SPOT): "0.60",
    },
    {(0, 0): 0.99},
)
ROWS = [
    Measurement("j", kind.name, 36.0, steps=1000, cloud="aws", instance_type=kind.name)
    for kind in KINDS
]
# Ten hours of work, in twelve and a half.
JOB = Job(
    "j", "true", work=Work(1000), deadline=Deadline(45_000), checkpoint=Checkpoint("c/", 600)
)  # fmt: skip


EVERYTHING = Filters()


def plan_of(
    job: Job = JOB,
    filters: Filters = EVERYTHING,
    judge: Judge | None = None,
    own_runs: OwnRuns | None = None,
) -> Plan:
    asked = PlanRequest(job, Evidence(job, ROWS), filters, judge, top=0, own_runs=own_runs)
    return Planner(BOOK, NOW).plan(asked)


def watched(machines: int, lived_h: float, taken: bool, region: str = "a") -> OwnRuns:
    place = Place("aws", region, region + "1", "one")
    return OwnRuns(
        Observation(place, What.MACHINE, 0.0, lived_h, taken, NOW) for _ in range(machines)
    )


def spot_of(plan: Plan, name: str = "one") -> Quote | None:
    found = [q for q in plan.quotes if q.instance_type == name and q.market is Market.SPOT]
    return found[0] if found else None


def test_the_quote_says_how_it_keeps_the_deadline() -> None:
    plan = plan_of()
    quote = spot_of(plan)
    assert quote is not None
    assert quote.falls_back is not None
    assert quote.cost_usd is not None
    assert quote.duration_h is not None
    terms = quote.falls_back.terms
    assert terms.deadline_h == 12.5
    assert terms.restart_h == pytest.approx(160 / 3600)
    assert terms.lost_h == pytest.approx(1 / 6)
    assert 10.0 < terms.work_h < 11.5, "work that holds with the confidence asked for"
    assert terms.on_demand_usd_per_h == pytest.approx(1.0, abs=0.03), "disk and address included"
    assert quote.falls_back.on_demand_price_per_hour_usd == Decimal("1.00")
    assert 0 < quote.falls_back.on_demand_share < 1
    cost = quote.cost_usd
    assert cost.expected == cost.compute + cost.storage + cost.network + cost.interruptions
    assert cost.expected <= cost.p90
    assert quote.duration_h.p90 <= terms.deadline_h
    assert quote.deadline_probability is not None
    assert quote.deadline_probability >= 0.9
    on_demand = next(q for q in plan.quotes if q.market is Market.ON_DEMAND)
    assert on_demand.cost_usd is not None
    assert cost.expected < on_demand.cost_usd.expected


def test_each_machine_that_is_expected_pays_for_its_checkpoint() -> None:
    def usd(job: Job) -> tuple[float, float]:
        quote = spot_of(plan_of(job))
        assert quote is not None
        assert quote.cost_usd is not None
        return float(quote.cost_usd.expected), float(quote.cost_usd.p90)

    unknown, sized = usd(JOB), usd(replace(JOB, data=Data(checkpoint_gb=Decimal(10))))
    one_usd = 0.9  # at .09 a GB
    # Ten hours have some machines: more than one, and hardly more than ten.
    assert unknown[0] + 1.5 * one_usd < sized[0] < unknown[0] + 10 * one_usd
    assert sized[1] >= sized[0]
    # Too dear where the budget has room for one of them and not for two.
    least = replace(JOB, budget_usd=Decimal("12.5"))
    kept, left = (
        spot_of(plan_of(least)),
        spot_of(plan_of(replace(least, data=Data(checkpoint_gb=Decimal(10))))),
    )
    assert kept is not None
    assert kept.falls_back is not None
    assert left is None or left.falls_back is None


def test_what_own_runs_saw_makes_the_quote_dearer_or_cheaper() -> None:
    def usd(own: OwnRuns | None) -> Decimal:
        quote = spot_of(plan_of(own_runs=own))
        assert quote is not None
        assert quote.cost_usd is not None
        return quote.cost_usd.expected

    unwatched = usd(None)
    assert usd(OwnRuns()) == unwatched
    assert usd(watched(40, 0.05, taken=True)) > unwatched
    assert usd(watched(40, 20.0, taken=False)) < unwatched


def test_the_quote_says_what_own_runs_saw_and_where() -> None:
    here = spot_of(plan_of(own_runs=watched(3, 2.0, taken=True)))
    elsewhere = spot_of(plan_of(own_runs=watched(3, 2.0, taken=True, region="b")))
    nowhere = spot_of(plan_of())
    assert here is not None
    assert here.falls_back is not None
    assert here.falls_back.watched == (3, 3, 6.0, 3)
    assert elsewhere is not None
    assert elsewhere.falls_back is not None
    assert elsewhere.falls_back.watched == (0, 3, 6.0, 3)
    assert nowhere is not None
    assert nowhere.falls_back is not None
    assert nowhere.falls_back.watched is None


def test_a_named_policy_is_played_and_costs_what_it_costs() -> None:
    auto, other = (
        spot_of(plan_of(replace(JOB, spot_policy=policy)))
        for policy in (SpotPolicy.AUTO, SpotPolicy.VALUE_INDEX)
    )
    assert auto is not None
    assert other is not None
    assert auto.falls_back is not None
    assert other.falls_back is not None
    assert (auto.falls_back.policy, other.falls_back.policy) == ("auto", "value-index")
    assert auto.cost_usd is not None
    assert other.cost_usd is not None
    assert other.cost_usd.expected != auto.cost_usd.expected
    assert other.cost_usd.expected <= other.cost_usd.p90
    assert other.deadline_probability is not None
    assert other.deadline_probability >= 0.9


def test_the_order_is_by_the_expected_cost() -> None:
    costs = [quote.cost_usd.expected for quote in plan_of().quotes if quote.cost_usd]
    assert costs == sorted(costs)


def test_a_later_deadline_saves_more_and_more() -> None:
    quote = spot_of(plan_of(replace(JOB, deadline=Deadline(41_500))))
    assert quote is not None
    assert quote.falls_back is not None
    later = quote.falls_back.later
    assert later, "so short a time costs on demand"
    assert [one.deadline_h for one in later] == sorted(one.deadline_h for one in later)
    assert [one.saves_usd for one in later] == sorted(one.saves_usd for one in later)
    assert later[0].saves_usd >= Decimal("0.01")


def test_spot_that_alone_would_be_too_late_is_in_time_with_on_demand_behind_it() -> None:
    ample = spot_of(plan_of())
    assert ample is not None
    assert ample.falls_back is not None
    rare = Checkpoint("c/", 2400)
    tight_h = ample.falls_back.terms.work_h + 2 * ample.falls_back.terms.restart_h + 0.7
    tight = replace(JOB, checkpoint=rare, deadline=Deadline(tight_h * 3600))
    alone = spot_of(plan_of(tight, Filters(markets=(Market.SPOT,))))
    assert alone is None
    both = spot_of(plan_of(tight))
    assert both is not None
    assert both.falls_back is not None


@pytest.mark.parametrize(
    "job",
    [
        replace(JOB, checkpoint=None),
        replace(JOB, deadline=None),
        replace(JOB, resources=(ResourceOption(market=Market.SPOT),)),
        replace(JOB, objective=Objective(ObjectiveKind.TIME)),
        replace(JOB, resources=(ResourceOption(max_price_per_hour_usd=Decimal("0.5")),)),
    ],
)
def test_who_saves_nothing_has_no_deadline_or_wants_one_market_alone_is_as_before(job: Job) -> None:
    assert all(quote.falls_back is None for quote in plan_of(job).quotes)


def test_both_markets_may_be_two_alternatives_that_differ_in_nothing_else() -> None:
    options = tuple(ResourceOption(market=market) for market in Market)
    quote = spot_of(plan_of(replace(JOB, resources=options)))
    assert quote is not None
    assert quote.falls_back is not None


def test_a_type_without_a_price_on_demand_stands_alone() -> None:
    quote = spot_of(plan_of(), "other")
    assert quote is None or quote.falls_back is None


def test_a_budget_that_on_demand_would_break_leaves_spot_alone() -> None:
    enough = spot_of(plan_of(replace(JOB, budget_usd=Decimal(14))))
    assert enough is not None
    assert enough.falls_back is not None
    assert enough.falls_back.terms.budget_usd == pytest.approx(14, abs=0.01)
    little = spot_of(plan_of(replace(JOB, budget_usd=Decimal(6))))
    assert little is None or little.falls_back is None


def test_what_the_policy_forbids_on_demand_is_nothing_to_fall_back_on() -> None:
    quote = spot_of(plan_of(judge=judge_by("max_price_per_hour: 0.50 USD")))
    assert quote is None or quote.falls_back is None
    dear = spot_of(plan_of(judge=judge_by("max_spend_per_run: 6 USD")))
    assert dear is None or dear.falls_back is None


def test_many_jobs_get_the_choice_of_a_plan_of_their_own() -> None:
    """Of measured jobs each is planned in full; the other way to a choice is by bounds."""
    request = PlanRequest(JOB, Evidence(JOB, ROWS))
    (choice,) = Planner(BOOK, NOW).many([request])
    assert choice.quote == plan_of().choice
    assert choice.quote is not None
    assert choice.quote.falls_back is not None


def test_quotes_far_down_have_bounds_in_place_of_histories() -> None:
    """Whoever asks for hundreds wants places to fail over to."""
    kinds = [InstanceType("aws", f"type-{n}", Hardware(8, 32, "x86_64")) for n in range(12)]
    prices = {
        (number, 0, market): f"{usd + number / 100:.2f}"
        for number in range(12)
        for market, usd in ((Market.ON_DEMAND, 1.0), (Market.SPOT, 0.3))
    }
    rows = [replace(ROWS[0], config=kind.name, instance_type=kind.name) for kind in kinds]
    book = SmallBook(kinds, [REGION], prices, {})
    request = PlanRequest(JOB, Evidence(JOB, rows), top=0)
    quotes = Planner(book, NOW).plan(request).quotes
    spot = [quote for quote in quotes if quote.falls_back is not None]
    assert len(spot) == 12
    for quote in spot[10:]:
        assert quote.falls_back is not None
        assert quote.cost_usd is not None
        assert quote.duration_h is not None
        terms = quote.falls_back.terms
        all_usd = terms.on_demand_usd_per_h * (terms.work_h + terms.restart_h)
        assert float(quote.cost_usd.p90) == pytest.approx(all_usd + float(quote.once_usd), rel=1e-6)
        assert quote.cost_usd.expected < quote.cost_usd.p90
        assert quote.duration_h.p90 <= terms.deadline_h
        assert 0 < quote.falls_back.on_demand_share < 1
        assert quote.falls_back.later == ()
