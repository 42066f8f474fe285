"""The policy file at plan time: which machines it takes out, and with what words."""

from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.policies import judge_by

from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Job, ResourceOption, StatedTime
from mlbroker.profiles.prediction import Evidence

T4 = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
BOOK = SmallBook(
    [
        InstanceType("aws", "cpu.large", Hardware(8, 32, "x86_64")),
        InstanceType("aws", "gpu.large", Hardware(8, 32, "x86_64", gpu=T4, gpu_count=1)),
    ],
    [
        Region("aws", "us-1", "us", grid_kgco2e_per_kwh=0.4, pue=1.1),
        Region("aws", "eu-1", "eu", grid_kgco2e_per_kwh=0.01, pue=1.1),
        Region("aws", "xx-1"),
    ],
    {
        (0, 0, Market.ON_DEMAND): "0.40",
        (0, 1, Market.ON_DEMAND): "0.50",
        (0, 2, Market.ON_DEMAND): "0.30",
        (1, 0, Market.ON_DEMAND): "0.60",
    },
    {},
)
SAID = StatedTime(5000, "cpu.large")
JOB = Job("j", "true", takes=SAID)


def planned(text: str, job: Job = JOB, reason: str | None = None) -> Plan:
    judge = judge_by(text, reason=reason)
    return Planner(BOOK, NOW).plan(PlanRequest(job, Evidence(job), judge=judge, explain=True))


def test_another_region_is_taken_where_the_cheapest_is_denied() -> None:
    plan = planned("deny: {regions: [xx-*, us-*]}")
    assert plan.choice is not None
    assert (plan.choice.instance_type, plan.choice.region) == ("cpu.large", "eu-1")


def test_a_rejection_names_the_rule() -> None:
    plan = planned("allow: {instance_types: [gpu.*]}")
    (out,) = [
        r for r in plan.rejected if r.instance_type == "cpu.large" and r.market == "on_demand"
    ]
    assert out.reason is Reason.FORBIDDEN_BY_POLICY
    assert out.detail.startswith("allow: ")


def test_caps_on_price_money_and_carbon() -> None:
    by_price = planned("max_price_per_hour: 0.35")
    assert [(q.region) for q in by_price.quotes] == ["xx-1"]
    by_carbon = planned("max_carbon_per_run: 10 g")
    assert [(q.region) for q in by_carbon.quotes] == ["eu-1"]  # unknown carbon is not low carbon
    none = planned("max_spend_per_run: {users: {ada: 0.000001}}")
    assert none.choice is None
    assert none.rejections[Reason.FORBIDDEN_BY_POLICY] == 2


def test_a_gpu_needs_a_reason_when_a_cpu_would_do() -> None:
    wants = JOB.__class__("j", "true", takes=SAID, resources=(
        ResourceOption(Requirements(gpu_model="T4")), ResourceOption()))  # fmt: skip
    rule = "gpu_needs_reason: true"
    refused = planned(rule, wants)
    assert refused.choice is not None
    assert refused.choice.instance_type == "cpu.large"
    (out,) = [r for r in refused.rejected if r.instance_type == "gpu.large" and r.region]
    assert "cpu.large meets the deadline without a GPU" in out.detail
    given = planned(rule, wants, reason="needs CUDA kernels")
    assert "gpu.large" in {quote.instance_type for quote in given.quotes}


def test_a_gpu_needs_no_reason_when_no_cpu_would_do() -> None:
    only = Job("j", "true", takes=SAID, resources=(
        ResourceOption(Requirements(gpu_model="T4")),))  # fmt: skip
    plan = planned("gpu_needs_reason: true", only)
    assert plan.choice is not None
    assert plan.choice.instance_type == "gpu.large"


def test_a_gpu_needs_a_reason_for_a_job_never_measured_too() -> None:
    both = (ResourceOption(Requirements(gpu_model="T4")), ResourceOption())
    plan = planned(rule := "gpu_needs_reason: true", Job("j", "true", resources=both))
    assert [quote.instance_type for quote in plan.quotes] == ["cpu.large"]
    (out,) = [r for r in plan.rejected if r.instance_type == "gpu.large" and r.region]
    assert "never measured" in out.detail
    assert "meets" not in out.detail
    given = planned(rule, Job("j", "true", resources=both), reason="needs CUDA kernels")
    assert "gpu.large" in {quote.instance_type for quote in given.quotes}
