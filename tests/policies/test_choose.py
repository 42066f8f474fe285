"""The chooser looks at few regions and still finds what looking at all of them finds."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by

from mlbroker.policies.candidates import Filters
from mlbroker.policies.choose import Chooser
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.guardrails.judge import Judge
from mlbroker.policies.picks import Candidate, Pick, Refusal
from mlbroker.policies.planner.book import with_hardware, with_hint
from mlbroker.policies.planner.decision import decide
from mlbroker.policies.planner.field import all_prices, gather
from mlbroker.policies.planner.near_misses import near_miss
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.quote import Reason
from mlbroker.policies.region_costs import region_costs
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.price_age import price_width
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    Deadline,
    Job,
    Objective,
    ObjectiveKind,
    StatedTime,
    Work,
)
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

REGIONS = [
    Region("aws", "a", "us", None, Decimal("0.08"), Decimal("0.005"), Decimal("0.09"),
           Decimal("0.02"), Decimal("0.05"), 0.4, "x", 1.1),
    Region("aws", "b", "eu", None, Decimal("0.30"), Decimal("0.005"), Decimal("0.20"),
           Decimal("0.02"), Decimal("0.05"), 0.05, "x", 1.1),
    Region("azure", "c", "us", None, Decimal("0.15"), Decimal("0.004"), Decimal("0.08"),
           Decimal("0.02"), Decimal("0.05"), 0.3, "x", 1.2),
    Region("aws", "d", "us"),
]  # fmt: skip
KINDS = [
    InstanceType("aws", "small", Hardware(2, 8, "x86_64")),
    InstanceType("aws", "large", Hardware(16, 64, "x86_64")),
    InstanceType("azure", "other", Hardware(8, 32, "x86_64")),
]
prices = st.dictionaries(
    st.sampled_from(
        [
            (kind, place, market)
            for kind in range(3)
            for place in range(4)
            for market in Market
            if KINDS[kind].cloud == REGIONS[place].cloud
        ]
    ),
    st.decimals("0.001", "3", places=4).map(str),
    min_size=1,
)
books = st.builds(
    SmallBook,
    st.just(KINDS),
    st.just(REGIONS),
    prices,
    st.dictionaries(
        st.tuples(st.integers(0, 2), st.integers(0, 3)), st.sampled_from([0.02, 0.1, 0.25])
    ),
)
jobs = st.builds(
    Job,
    name=st.just("j"),
    command=st.just("true"),
    work=st.just(Work(1000)),
    takes=st.sampled_from([None, StatedTime(250, "small"), StatedTime(9000, "large")]),
    deadline=st.none() | st.builds(Deadline, st.floats(600, 40_000)),
    budget_usd=st.none() | st.decimals("0.01", "9", places=2),
    checkpoint=st.none() | st.just(Checkpoint("c/", 600)),
    data=st.builds(
        Data,
        st.sampled_from([Decimal(0), Decimal(50)]),
        st.sampled_from([Decimal(0), Decimal(9)]),
        checkpoint_gb=st.sampled_from([None, Decimal(0), Decimal(4)]),
    ),
    objective=st.sampled_from(ObjectiveKind).map(lambda kind: Objective(kind, Decimal("0.5"))),
)
measured = [
    Measurement("j", "small", 12.0, steps=1000, cloud="aws", instance_type="small"),
    Measurement("j", "large", 2.0, steps=1000, cloud="aws", instance_type="large", region="d"),
    Measurement("j", "large", 3.0, steps=1000, cloud="aws", instance_type="large", region="a"),
]

JUDGES = [
    None,
    judge_by("max_spend_per_run: 0.25 USD"),
    judge_by("max_price_per_hour: 0.50 USD"),
    judge_by("max_carbon_per_run: 0.1 kg"),
    judge_by("allow: {regions: [a, c]}"),
]

LONG = StatedTime(2.5e8, "small")


def field_of(
    job: Job, book: SmallBook, evidence: Evidence, judge: Judge | None = None
) -> tuple[Chooser, list[Candidate], Constraints]:
    evidence = with_hint(book, evidence)
    limits = Constraints.of(job, evidence, book.regions(), NOW)
    field = gather(job, limits, book, evidence, Filters())
    limits = limits if field.known else limits.unjudged()
    add_ons = region_costs(limits, book.regions(), job.resources)
    chooser = Chooser(limits, add_ons, all_prices(book, job), judge)
    return chooser, field.candidates, limits


@settings(deadline=None)
@given(jobs, books, st.sampled_from([[], measured]), st.sampled_from(JUDGES))
def test_the_quick_way_finds_what_the_long_way_finds(
    job: Job, book: SmallBook, rows: list[Measurement], judge: Judge | None
) -> None:
    evidence = Evidence(job, rows)
    quick, candidates, _ = field_of(job, book, evidence, judge)
    selection = quick.choose(candidates, top=0)
    slow, everything, _ = field_of(job, book, evidence, judge)
    looked = [slow._full_look(candidate) for candidate in everything]
    picks = sorted((pick for pick in looked if isinstance(pick, Pick)), key=lambda p: p.key)
    for candidate in filter(slow.forbidden_anywhere, everything):
        for row in slow.prices(candidate):
            assert isinstance(slow._look(candidate, row), Refusal)
            assert slow.needs(candidate, row) is None
    assert [pick.key for pick in selection.picks] == [pick.key for pick in picks]
    assert len(selection.refusals) == len(everything) - len(picks)
    assert selection.feasible == len(picks)
    first, again, _ = field_of(job, book, evidence, judge)
    best = first.choose(again, top=1).picks
    assert [pick.key for pick in best] == [pick.key for pick in picks[:1]]


@settings(deadline=None, max_examples=80)
@given(jobs, books, st.sampled_from(JUDGES))
def test_falling_back_lets_more_machines_in_and_none_out(
    job: Job, book: SmallBook, judge: Judge | None
) -> None:
    job = replace(job, checkpoint=Checkpoint("c/", 600), objective=Objective())
    job = replace(job, deadline=job.deadline or Deadline(20_000))
    dear = {(kind, place, Market.ON_DEMAND): "3.01" for kind, place, _ in book.prices}
    book = replace(book, prices=dear | book.prices)
    evidence = Evidence(job, measured)
    alone, candidates, _ = field_of(job, book, with_hardware(book, evidence), judge)
    feasible = alone.choose(candidates, top=0).picks
    plan = decide(book, NOW, PlanRequest(job, evidence, judge=judge, top=0))
    quoted = {(quote.instance_type, quote.market) for quote in plan.quotes}
    assert quoted >= {(p.candidate.machine.type.name, p.candidate.market) for p in feasible}
    for quote in plan.quotes:
        if quote.falls_back is not None:
            assert quote.cost_usd is not None
            assert quote.cost_usd.expected <= quote.cost_usd.p90
            assert quote.deadline_probability is not None
            assert quote.deadline_probability >= job.confidence


@settings(deadline=None)
@given(jobs, books)
def test_a_budget_is_kept_even_by_a_spot_price_that_rises_as_far_as_it_may(
    job: Job, book: SmallBook
) -> None:
    """What is planned is not refused at launch: it may live as long as it was planned to."""
    job = replace(job, budget_usd=job.budget_usd or Decimal(1))
    job = replace(job, takes=job.takes or StatedTime(600, "small"))
    plan = decide(book, NOW, PlanRequest(job, Evidence(job), top=0))
    for quote in plan.quotes:
        if quote.market is Market.SPOT:
            most = quote.max_price_per_hour_usd
            assert most is not None
            assert quote.price_per_hour_usd <= most
            place = next(r for r in REGIONS if (r.cloud, r.name) == (quote.cloud, quote.region))
            assert quote.cost_usd is not None
            assert quote.duration_h is not None
            bill = Bill.of(place, most, quote.nodes, 100, quote.cost_usd.network)
            assert job.budget_usd is not None
            within = bill.worst_case(job.budget_usd, slack_s=0)
            assert within is not None
            assert float(within.lifetime_s) >= int(quote.duration_h.p50 * 3600) - 1


def test_of_a_machine_that_is_forbidden_at_its_cheapest_one_price_is_looked_at() -> None:
    market = Market.ON_DEMAND
    book = SmallBook(KINDS, REGIONS, {(0, p, market): f"1.{p}" for p in (0, 1, 3)}, {})
    job = Job("j", "true", takes=StatedTime(600, "small"), budget_usd=Decimal("0.01"))
    judge = judge_by("max_price_per_hour: 0.99 USD")
    chooser, (candidate,), _ = field_of(job, book, Evidence(job), judge)
    taken, every = [], chooser.more

    def more(asked: Candidate) -> Iterator[RegionPrice]:
        for row in every(asked):
            taken.append(row)
            yield row

    chooser.more = more
    candidate.complete = False
    (refusal,) = chooser.choose([candidate], top=0).refusals
    assert len(taken) <= 1
    assert refusal.row.region_id == 0
    assert near_miss(chooser, [refusal], ()).budget_usd is None
    assert len(taken) <= 1


def test_a_dearer_region_with_cheaper_side_prices_can_win() -> None:
    book = SmallBook(
        KINDS,
        REGIONS,
        {(0, 1, Market.ON_DEMAND): "0.010", (0, 0, Market.ON_DEMAND): "0.012"},
        {},
    )
    chooser, candidates, _ = field_of(Job("j", "true"), book, Evidence(Job("j", "true")))
    # Region b is cheaper by the hour, but its disk costs .03 USD an hour more.
    (pick,) = chooser.choose(candidates, top=0).picks
    assert REGIONS[pick.row[2]].name == "a"


OLD = (0, 0, Market.SPOT)


@pytest.mark.parametrize(
    ("on_demand", "age_days", "chosen"),
    [
        ("0.12", 90, Market.SPOT),
        ("0.12", 930, Market.ON_DEMAND),
        ("0.30", 930, Market.SPOT),
    ],
)
def test_an_old_price_wins_only_by_more_than_it_may_have_risen(
    on_demand: str, age_days: int, chosen: Market
) -> None:
    fresh = {(0, 0, Market.ON_DEMAND): on_demand}
    book = SmallBook(KINDS, REGIONS, {OLD: "0.10", **fresh}, {(0, 0): 0.02}, {OLD: age_days})
    job = Job("j", "true", work=Work(1000), checkpoint=Checkpoint("c/", 600))
    plan = decide(book, NOW, PlanRequest(job, Evidence(job, measured)))
    assert plan.choice is not None
    assert plan.choice.market is chosen
    old = next(quote for quote in plan.quotes if quote.market is Market.SPOT)
    young = replace(book, ages={})
    same = next(
        quote
        for quote in decide(young, NOW, PlanRequest(job, Evidence(job, measured))).quotes
        if quote.market is Market.SPOT
    )
    assert same.price_width == 0
    assert (old.price_width > 0.5) == (age_days > 90)
    assert (old.cost_usd.p90 > same.cost_usd.p90) == (age_days > 90)
    assert old.cost_usd.expected == same.cost_usd.expected


def test_a_fresh_price_elsewhere_beats_a_cheaper_old_one() -> None:
    book = SmallBook(
        KINDS,
        REGIONS,
        {OLD: "0.10", (0, 3, Market.SPOT): "0.13"},
        {(0, 0): 0.02, (0, 3): 0.02},
        {OLD: 930},
    )
    job = Job("j", "true", work=Work(1000), checkpoint=Checkpoint("c/", 600))
    plan = decide(book, NOW, PlanRequest(job, Evidence(job, measured)))
    assert plan.choice is not None
    assert plan.choice.region == "d"


def test_spot_prices_age_faster_and_fresh_ones_not_at_all() -> None:
    assert price_width(True, 90) == price_width(False, 90) == 0
    assert 0 < price_width(False, 365) < price_width(True, 365) < price_width(True, 930)
    assert price_width(True, 10**6) == price_width(True, 3 * 365)


def test_a_region_measured_by_itself_has_its_own_time() -> None:
    book = SmallBook(
        KINDS,
        REGIONS,
        {(1, 0, Market.ON_DEMAND): "1", (1, 1, Market.ON_DEMAND): "1",
         (1, 3, Market.ON_DEMAND): "1.2"},
        {},
    )  # fmt: skip
    job = Job("j", "true", work=Work(1000))
    chooser, candidates, _ = field_of(job, book, Evidence(job, measured))
    (pick,) = chooser.choose(candidates, top=0).picks
    assert REGIONS[pick.row[2]].name == "d"  # 2 s a step there, 3 s in a, 2.4 s elsewhere


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (Job("j", "t", takes=LONG, deadline=Deadline(60.0)), Reason.TOO_SLOW),
        (Job("j", "t", takes=LONG, budget_usd=Decimal("0.0001")), Reason.OVER_BUDGET),
        (Job("j", "t", takes=LONG), Reason.INTERRUPTED_TOO_OFTEN),
    ],
)
def test_refusals_name_their_reason_and_what_would_have_done(job: Job, reason: Reason) -> None:
    book = SmallBook(KINDS, REGIONS, {(0, 0, Market.SPOT): "0.1"}, {})
    chooser, candidates, _ = field_of(job, book, Evidence(job))
    (refusal,) = chooser.choose(candidates, top=0).refusals
    assert refusal.reason is reason
    if reason is Reason.TOO_SLOW:
        assert refusal.needs_s is not None
        assert refusal.needs_s > 60
    if reason is Reason.OVER_BUDGET:
        assert refusal.needs_usd is not None
        assert refusal.needs_usd > 0.0001
