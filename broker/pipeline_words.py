"""What would have to change where no choice of machines keeps a pipeline's limits."""

from decimal import Decimal

from mlbroker.broker.words import duration, money
from mlbroker.policies.pipeline.interface import Solution


def ways_out(solution: Solution) -> list[str]:
    """The least deadline and the least budget that would do, each beside the other limit."""
    ways = []
    if solution.least_deadline_s is not None:
        ways.append(f"a deadline of {duration(solution.least_deadline_s, least=True)} would do")
    if solution.least_budget_usd is not None:
        usd = Decimal(str(solution.least_budget_usd))
        ways.append(f"a budget of {money(usd, least=True)} USD would do")
    return ways
