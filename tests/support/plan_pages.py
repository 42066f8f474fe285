"""Plans of a small book for the tests of their pages: all kinds of verdicts, and hostile names."""

from decimal import Decimal

from tests.support.books import SmallBook
from tests.support.moments import NOW
from tests.support.random_plans import KINDS, OFFERED, REGIONS

from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.pricing.offer import InstanceType
from mlbroker.profiles.job import Deadline, Job, StatedTime
from mlbroker.profiles.prediction import Evidence

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</script ><!--<script >",
    '<img src="x" onerror="alert(2)">',
    "'\"><svg onload=alert(3)>",
)
TAKES = StatedTime(9000, "aws.4")
BUDGET_USD = Decimal("2.5")


def some_book(kinds: tuple[InstanceType, ...] = tuple(KINDS)) -> SmallBook:
    """Everything is for sale everywhere, the dearer the larger, and cheaper on spot."""
    prices = {
        (kind, place, market): str(
            Decimal("0.05") * Decimal(kinds[kind].hardware.vcpus) * (place + 2)
            / (3 if market == "spot" else 1)
        )
        for kind, place, market in OFFERED
    }  # fmt: skip
    return SmallBook(kinds, REGIONS, prices, {})


def some_plan(
    book: SmallBook,
    *,
    name: str = "bert-ft",
    takes: StatedTime | None = TAKES,
    deadline_s: float = 20_000,
    budget_usd: Decimal = BUDGET_USD,
) -> Plan:
    """All its quotes and rejections; some machines are too slow for it, and some too dear."""
    job = Job(
        name=name, command="true", takes=takes, deadline=Deadline(deadline_s), budget_usd=budget_usd
    )
    request = PlanRequest(job, Evidence(job), top=0, explain=True)
    return Planner(book, NOW).plan(request)
