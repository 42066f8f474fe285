"""Planning many jobs quickly gives the very plan that planning one of them gives."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.support.indexed import indexed
from tests.support.policies import judge_by

from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.broker.prices.price_book import open_book
from mlbroker.policies.guardrails.judge import Judge
from mlbroker.policies.planner.cached_book import CachedBook, SomeTypes
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RESOURCES = [
    "{}",
    "{cpus: 4+}",
    "{memory: 4x, cpus: 8+, use_spot: true}",
    "{accelerators: L4:1}",
    "{any_of: [{accelerators: T4:1}, {cpus: 16, use_spot: false}]}",
    "{infra: aws/us-east-1, cpus: 2+, disk_size: 500}",
    "{accelerators: {H100: 8}, max_hourly_cost: 60}",
    "{accelerators: Trainium1}",
    "{instance_type: m5.large}",
]
BROKER = [
    "deadline: 6h, work: {steps: 20000, hours: 1.4, on: m5.xlarge}",
    "deadline: 30m, work: {hours: 0.1, on: m5.xlarge}, budget: 1",
    "objective: time, deadline: 2d, work: {hours: 20, on: g4dn.xlarge}",
    "objective: carbon, deadline: 8h, work: {hours: 0.35, on: m5.xlarge}",
    "confidence: 0.99, data: {input_gb: 100, at: aws/us-east-1}",
    "deadline: 2d, work: {steps: 9000}, data: {input_gb: 300, output_gb: 9, at: gcp/us-central1}",
    "deadline: 1h, work: {hours: 35000, on: m5.xlarge}",
    "deadline: 1h, budget: 1, work: {steps: 500000000}",
    "objective: time, work: {steps: 9}",
]
POLICIES = [
    "deny: {markets: [spot]}",
    "allow: {clouds: [gcp], regions: [us-*]}",
    "max_spend_per_run: 0.25 USD",
    "max_price_per_hour: 0.10 USD",
    "gpu_needs_reason: true",
    "max_nodes: 1",
    "max_carbon_per_run: 2 kg",
]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> CachedBook:
    return CachedBook(open_book(indexed(tmp_path_factory.mktemp("home")), today=NOW.date()))


@pytest.fixture(scope="module")
def planner(book: CachedBook) -> Planner:
    return Planner(book, NOW)


def job_of(resources: str, broker: str) -> Job:
    (file,) = parse_jobs(f"run: x\nresources: {resources}\nbroker: {{{broker}}}\n", "x", None)
    return file.job


def same(planner: Planner, evidence: Evidence, judge: Judge | None) -> None:
    request = PlanRequest(evidence.job, evidence, judge=judge)
    (quick,) = planner.many([request])
    whole = planner.plan(request)
    assert quick.quote == whole.choice
    assert quick.deadline_s == whole.constraints.deadline_s
    if whole.choice is None and judge is None:
        assert quick.plan is not None
        assert whole.near_miss is not None
        assert quick.plan.near_miss is not None
        assert quick.plan.near_miss.deadline_s == whole.near_miss.deadline_s


@pytest.mark.parametrize(("resources", "broker"), [*itertools.product(RESOURCES, BROKER)])
def test_any_job(planner: Planner, resources: str, broker: str) -> None:
    same(planner, Evidence(job_of(resources, broker)), None)


@pytest.mark.parametrize("text", POLICIES)
def test_under_a_policy(planner: Planner, book: CachedBook, text: str) -> None:
    judge = judge_by(text)
    job = job_of("{any_of: [{accelerators: T4:1}, {cpus: 4+}]}", BROKER[0])
    same(planner, Evidence(job), judge)


def test_with_measurements_and_with_those_of_others(planner: Planner) -> None:
    job = job_of("{cpus: 4+}", BROKER[0])
    others = [Measurement("other", "m5.large", 0.2, Decimal("0.096"), instance_type="m5.large")]
    own = [
        Measurement(job.name, "m5.xlarge", 0.3, Decimal("0.192"), cloud="aws",
                    instance_type="m5.xlarge", steps=100)
    ]  # fmt: skip
    same(planner, Evidence(job, (), others), None)
    same(planner, Evidence(job, own, others), None)


def test_only_a_few_types_are_planned_on(
    planner: Planner, book: CachedBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = SomeTypes.types
    monkeypatch.setattr(
        SomeTypes, "types", lambda some: sizes.append(len(original(some))) or original(some)
    )
    job = job_of("{cpus: 4+}", BROKER[0])
    list(planner.many([PlanRequest(job, Evidence(job))]))
    assert sizes
    assert max(sizes) * 10 < len(book.types())


def test_a_part_of_the_book_is_the_book_for_its_types(book: CachedBook) -> None:
    entries = book.types()[100:103]
    some = SomeTypes(book, entries)
    ids = [entry.id for entry in entries]
    assert some.types() == entries
    assert some.price_rows(1) == book.price_rows(1, None, ids)
    assert some.price_rows(None, None, ids[:1]) == book.price_rows(None, None, ids[:1])
    region = next(iter(book.regions()))
    expected = [row for row in book.price_rows(None, [region]) if row.type_id in ids]
    assert some.price_rows(None, [region]) == expected
